"""Every way in; each view declares its access (accounts.doors.page)."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from accounts.doors import page
from audit.urls import routes as audit_routes
from fridu_site import views

urlpatterns = [
    path("", views.overview, name="overview"),
    path("search/", views.search, name="search"),
    path("help/", views.help, name="help"),
    path("admin/", admin.site.urls),
    path("", include("hosts.urls")),
    path("", include("accounts.signin_urls")),
    path("", include("accounts.urls")),
    path("audit/", include(audit_routes(page))),
    path("zones/", include("zones.urls")),
    path("machines/", include("machines.urls")),
    path("firewall/", include("firewall.urls")),
]
