from __future__ import annotations

from django.contrib import admin

from firewall.models import CustomRule, PolicyCell, PublishedService, Revision, ZoneRestriction
from ui.readonly import ReadOnlyAdmin


@admin.register(PublishedService)
class PublishedServiceAdmin(ReadOnlyAdmin):
    list_display = ("name", "zone", "external", "proto", "port", "port_last", "target", "target_port")
    list_filter = ("proto", "zone")
    list_select_related = ("zone", "external")
    search_fields = ("name", "target")


@admin.register(ZoneRestriction)
class ZoneRestrictionAdmin(ReadOnlyAdmin):
    list_display = ("name", "zone", "direction", "action", "proto", "port", "port_last", "address")
    list_select_related = ("zone",)


@admin.register(PolicyCell)
class PolicyCellAdmin(ReadOnlyAdmin):
    list_display = ("source", "target", "ports", "host")
    list_select_related = ("host",)


@admin.register(Revision)
class RevisionAdmin(ReadOnlyAdmin):
    list_display = ("number", "host", "state", "author", "why", "created", "live_at", "digest")
    list_filter = ("state", "host", "author")
    list_select_related = ("host", "author")


@admin.register(CustomRule)
class CustomRuleAdmin(ReadOnlyAdmin):
    pass
