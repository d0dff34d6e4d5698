from __future__ import annotations

from django.contrib import admin

from ui.readonly import ReadOnlyAdmin
from zones.models import ExternalAddress, VpnPeer, Zone


@admin.register(ExternalAddress)
class ExternalAddressAdmin(ReadOnlyAdmin):
    list_display = ("address", "nic", "host")
    list_select_related = ("host",)


@admin.register(Zone)
class ZoneAdmin(ReadOnlyAdmin):
    list_display = ("name", "host", "bridge", "gateway", "prefix", "external", "domain", "applied_at")
    list_select_related = ("host", "external")
    search_fields = ("name", "bridge", "gateway")


@admin.register(VpnPeer)
class VpnPeerAdmin(ReadOnlyAdmin):
    list_display = ("name", "user", "address", "host", "created", "revoked")
    list_select_related = ("user", "host")
    search_fields = ("name", "address")
