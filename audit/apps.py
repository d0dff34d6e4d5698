from __future__ import annotations

from django.apps import AppConfig
from django.core import checks
from django.db.models.signals import post_migrate


class AuditConfig(AppConfig):
    name = "audit"
    verbose_name = "Audit"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from audit import fragments, triggers
        from ui import registry

        post_migrate.connect(triggers.after_migrate, sender=self, dispatch_uid="audit.triggers")
        checks.register(triggers.check_triggers, checks.Tags.database)
        registry.fragment("history", fragments.history)
