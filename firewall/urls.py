from __future__ import annotations

from django.urls import path

from firewall.views import changes, imports, policy, services

app_name = "firewall"
urlpatterns = [
    path("", changes.changes, name="changes"),
    path("apply/", changes.apply, name="apply"),
    path("revisions/", changes.revisions, name="revisions"),
    path("revisions/<int:pk>/", changes.revision, name="revision"),
    path("revisions/<int:pk>/again/", changes.again, name="again"),
    path("dump/", changes.dump, name="dump"),
    path("services/", services.list_, name="services"),
    path("services/publish/", services.publish, name="publish"),
    path("services/<int:pk>/unpublish/", services.unpublish, name="unpublish"),
    path("policy/", policy.policy, name="policy"),
    path("policy/cell/", policy.cell, name="cell"),
    path("policy/restriction/", policy.restriction, name="restriction"),
    path("policy/restriction/<int:pk>/remove/", policy.restriction_remove, name="restriction_remove"),
    path("policy/custom/", policy.custom, name="custom"),
    path("policy/custom/<int:pk>/remove/", policy.custom_remove, name="custom_remove"),
    path("import/", imports.import_, name="import"),
]
