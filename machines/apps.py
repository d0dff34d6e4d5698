from __future__ import annotations

from django.apps import AppConfig


class MachinesConfig(AppConfig):
    name = "machines"
    verbose_name = "Machines"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from hosts import visibility, watch
        from machines import kinds, observe, offering
        from ui import registry

        kinds.register_kinds()
        watch.register_observer(observe.book)
        visibility.register("machine", offering.jobs_of)
        registry.search(offering.find)
        registry.attention(offering.needs)
