from __future__ import annotations

from django.apps import AppConfig


class MachinesConfig(AppConfig):
    name = "machines"
    verbose_name = "Machines"
    default_auto_field = "django.db.models.BigAutoField"
