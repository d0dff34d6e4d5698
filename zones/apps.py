from __future__ import annotations

from django.apps import AppConfig


class ZonesConfig(AppConfig):
    name = "zones"
    verbose_name = "Zones"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from accounts.services import on_deactivated
        from hosts import watch
        from ui import registry
        from zones import address_kinds, kinds, offering, seen, vpn, vpn_kinds, vpn_offering

        kinds.register_kinds()
        address_kinds.register_kinds()
        vpn_kinds.register_kinds()
        registry.search(offering.find)
        registry.search(vpn_offering.find)
        registry.attention(vpn_offering.needs)
        for place in ("account", "person.detail"):
            registry.fragment(place, vpn_offering.of_user)
        registry.attention(offering.needs)
        watch.register_observer(seen.observe)
        watch.register_observer(vpn.observe)
        on_deactivated(vpn.user_deactivated)
