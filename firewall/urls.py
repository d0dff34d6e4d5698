from __future__ import annotations

from django.urls import path

from firewall.views import changes, drift, explain, imports, own_rules, policy, restrictions, revisions, services, trial

app_name = "firewall"
urlpatterns = [
    path("", changes.changes, name="changes"),
    path("apply/", changes.apply, name="apply"),
    path("trial/", trial.trial, name="trial"),
    path("trial/keep/", trial.keep, name="keep"),
    path("trial/return/", trial.take_back, name="return"),
    path("stop/", trial.stop, name="stop"),
    path("drift/", drift.drift, name="drift"),
    path("drift/restore/", drift.restore, name="restore_live"),
    path("drift/adopt/", drift.adopt, name="adopt"),
    path("revisions/", revisions.revisions, name="revisions"),
    path("revisions/compare/", revisions.compare, name="compare"),
    path("revisions/<int:pk>/", revisions.revision, name="revision"),
    path("revisions/<int:pk>/again/", revisions.again, name="again"),
    path("dump/", changes.dump, name="dump"),
    path("services/", services.list_, name="services"),
    path("services/publish/", services.publish, name="publish"),
    path("services/ports/", services.ports, name="ports"),
    path("services/restore/", services.restore, name="restore"),
    path("services/<int:pk>/", services.change, name="change"),
    path("services/<int:pk>/unpublish/", services.unpublish, name="unpublish"),
    path("policy/", policy.policy, name="policy"),
    path("policy/cell/", policy.cell, name="cell"),
    path("policy/restrictions/", restrictions.list_, name="restrictions"),
    path("policy/restrictions/add/", restrictions.add, name="restriction"),
    path("policy/restrictions/<int:pk>/", restrictions.change, name="restriction_change"),
    path("policy/restrictions/<int:pk>/remove/", restrictions.remove, name="restriction_remove"),
    path("policy/reach/", explain.matrix, name="reach"),
    path("policy/why/", explain.explain, name="explain"),
    path("policy/why/probe/", explain.probe, name="probe"),
    path("policy/rules/", own_rules.list_, name="customs"),
    path("policy/rules/add/", own_rules.add, name="custom"),
    path("policy/rules/tried/<int:pk>/", own_rules.tried, name="custom_tried"),
    path("policy/rules/<int:pk>/remove/", own_rules.remove, name="custom_remove"),
    path("import/", imports.import_, name="import"),
    path("import/reviewed/", imports.review_done, name="import_reviewed"),
    path("import/kept/<int:pk>/remove/", imports.unkeep, name="unkeep"),
]
