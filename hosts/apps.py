from __future__ import annotations

from django.apps import AppConfig


class HostsConfig(AppConfig):
    name = "hosts"
    verbose_name = "Hosts and jobs"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from hosts import attention, doctor
        from ui import registry

        doctor.register_kinds()
        registry.attention(attention.jobs_for)
        registry.attention(attention.hosts_for)
