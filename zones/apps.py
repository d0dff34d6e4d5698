from __future__ import annotations

from django.apps import AppConfig


class ZonesConfig(AppConfig):
    name = "zones"
    verbose_name = "Zones"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from hosts import watch
        from zones import kinds, services

        kinds.register_kinds()
        watch.register_observer(services.observe_addresses)
