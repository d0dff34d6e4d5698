from __future__ import annotations

from django.contrib import admin

from audit.models import Entry, Head
from ui.readonly import ReadOnlyAdmin


@admin.register(Entry)
class EntryAdmin(ReadOnlyAdmin):
    list_display = (
        "seq",
        "at",
        "actor_name",
        "action",
        "object_kind",
        "object_text",
        "outcome",
        "why",
        "job",
        "address",
    )
    list_filter = ("outcome", "action", "object_kind", "actor_name", "at")
    search_fields = ("actor_name", "action", "object_text", "object_id", "why", "address")
    date_hierarchy = "at"


@admin.register(Head)
class HeadAdmin(ReadOnlyAdmin):
    list_display = ("seq", "digest")
