"""Every way in; each view declares its access (accounts.access.page)."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("hosts.urls")),
    path("", include("accounts.urls")),
    path("audit/", include("audit.urls")),
    path("zones/", include("zones.urls")),
    path("machines/", include("machines.urls")),
    path("firewall/", include("firewall.urls")),
]
