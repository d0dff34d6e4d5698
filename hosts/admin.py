from __future__ import annotations

from django.contrib import admin

from hosts.models import Host, Job, JobStep
from ui.readonly import ReadOnlyAdmin


@admin.register(Host)
class HostAdmin(ReadOnlyAdmin):
    list_display = ("name", "seen_at")


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    list_display = ("id", "title", "kind", "host", "actor", "approver", "state", "created", "ended", "message")
    list_filter = ("state", "kind", "host", "actor")
    list_select_related = ("host", "actor", "approver")
    search_fields = ("title", "target_text", "reason", "message")
    date_hierarchy = "created"


@admin.register(JobStep)
class JobStepAdmin(ReadOnlyAdmin):
    list_display = ("job", "number", "stage", "title", "state", "code", "started", "ended")
    list_filter = ("state", "stage")
    list_select_related = ("job",)
    search_fields = ("title", "shown")
