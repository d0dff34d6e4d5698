"""Puts the panel's own site in the place of Django's admin (settings.INSTALLED_APPS)."""

from __future__ import annotations

from django.contrib.admin.apps import AdminConfig


class PanelAdminConfig(AdminConfig):
    default_site = "accounts.site.PanelAdminSite"
