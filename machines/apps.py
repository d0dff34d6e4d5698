from __future__ import annotations

from django.apps import AppConfig


class MachinesConfig(AppConfig):
    name = "machines"
    verbose_name = "Machines"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from hosts import visibility
        from machines import offering
        from ui import registry

        visibility.register("machine", offering.jobs_of)
        registry.search(offering.find)
        registry.attention(offering.needs)
