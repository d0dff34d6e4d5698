from __future__ import annotations

from django.apps import AppConfig


class ZonesConfig(AppConfig):
    name = "zones"
    verbose_name = "Zones"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from hosts import watch
        from ui import registry
        from zones import kinds, offering, services

        kinds.register_kinds()
        registry.search(offering.find)
        watch.register_observer(services.observe_addresses)
