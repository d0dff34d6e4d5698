from __future__ import annotations

from django.contrib import admin

from machines.models import Expected, Grant, Image, Machine, SiteDefaults, Snapshot
from ui.readonly import ReadOnlyAdmin


@admin.register(Machine)
class MachineAdmin(ReadOnlyAdmin):
    list_display = ("name", "owner", "zone", "address", "mac", "wanted", "observed", "observed_at", "built_at")
    list_filter = ("zone", "owner", "wanted", "observed")
    list_select_related = ("owner", "zone")
    search_fields = ("name", "address", "mac", "uuid")


@admin.register(Image)
class ImageAdmin(ReadOnlyAdmin):
    list_display = ("name", "host", "archive", "family", "min_root_mib", "digest")
    list_select_related = ("host",)


@admin.register(SiteDefaults)
class SiteDefaultsAdmin(ReadOnlyAdmin):
    list_display = ("host", "image", "memory_mib", "root_mib", "vcpus")
    list_select_related = ("host", "image")


@admin.register(Expected)
class ExpectedAdmin(ReadOnlyAdmin):
    list_display = ("name", "zone", "address", "mac", "vif", "source", "noted_at")
    list_select_related = ("zone",)


@admin.register(Grant)
class GrantAdmin(ReadOnlyAdmin):
    list_display = ("machine", "user", "verbs", "expires")
    list_select_related = ("machine", "user")


@admin.register(Snapshot)
class SnapshotAdmin(ReadOnlyAdmin):
    list_display = ("machine", "label", "taken_at", "taken_by", "expires", "size_mib", "percent")
    list_select_related = ("machine", "taken_by")
