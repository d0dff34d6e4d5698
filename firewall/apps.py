from __future__ import annotations

from django.apps import AppConfig


class FirewallConfig(AppConfig):
    name = "firewall"
    verbose_name = "Firewall"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from firewall import kinds, published, services
        from machines.published import register
        from zones.services import register_farewell

        kinds.register_kinds()
        register(published.of_machines)
        register_farewell(services.zone_farewell)
