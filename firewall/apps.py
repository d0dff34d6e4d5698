from __future__ import annotations

from django.apps import AppConfig


class FirewallConfig(AppConfig):
    name = "firewall"
    verbose_name = "Firewall"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from firewall import counters, kinds, moves, own_rule_kinds, probes, services, shown, trouble, watch
        from hosts.watch import register_observer
        from machines import following, published
        from ui import registry
        from zones.dependents import register_dependents
        from zones.moving import register_follower
        from zones.services import register_farewell

        kinds.register_kinds()
        own_rule_kinds.register_kinds()
        probes.register_kinds()
        register_farewell(services.zone_farewell)
        register_follower(moves.FOLLOWER)
        following.register(moves.FOLLOWER)
        following.register_held(moves.held)
        register_dependents(moves.dependents)
        published.register(shown.published_of)
        register_observer(counters.watch)
        registry.attention(shown.attention)
        registry.attention(shown.expired)
        registry.attention(trouble.attention)
        register_observer(watch.observe)
        registry.search(shown.search)
        registry.fragment("zone.detail", shown.zone_fragment)
        registry.fragment("policy.cell", shown.cell_fragment)
