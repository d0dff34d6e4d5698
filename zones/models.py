"""Zones and the external addresses they go out by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from netaddr import AddrFormatError, IPAddress, IPNetwork

from accounts.access import may
from hosts.models import Host

if TYPE_CHECKING:
    from accounts.models import User

zone_grammar = RegexValidator(
    r"\A[A-Za-z][A-Za-z0-9-]{0,14}\Z",
    "Use 1 to 15 letters, digits and hyphens, beginning with a letter, for example zFulup.",
)
domain_grammar = RegexValidator(r"\A[a-z][a-z0-9.-]{0,62}\Z", "Use a domain such as fulup.internal.")

peer_grammar = RegexValidator(
    r"\A[a-z][a-z0-9-]{0,38}\Z",
    "Use 1 to 39 small letters, digits and hyphens, beginning with a letter, for example fulup-laptop.",
)

PREFIX = [
    MinValueValidator(16, "A zone has at most 65,534 addresses: use a prefix from 16 to 29, for example 24."),
    MaxValueValidator(29, "A zone has at least 6 addresses: use a prefix from 16 to 29, for example 24."),
]


class ExternalAddress(models.Model):
    """A public address on a NIC of the host."""

    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="addresses")
    nic = models.CharField(max_length=15)
    address = models.GenericIPAddressField(protocol="IPv4", unique=True)

    class Meta:
        ordering = ["id"]
        verbose_name_plural = "external addresses"

    def __str__(self) -> str:
        return f"{self.address} on {self.nic}"


class ZoneQuerySet(models.QuerySet["Zone"]):
    def visible_to(self, user: User, action: str = "zone.view") -> ZoneQuerySet:
        """The zones on which `user` may do `action`, by the policy table alone."""
        return self if may(user, action) else self.none()


class Zone(models.Model):
    """One bridge, one subnet, one way out (or none)."""

    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="zones")
    name = models.CharField(max_length=15, validators=[zone_grammar])
    number = models.PositiveSmallIntegerField(help_text="stable, used in chain names")
    bridge = models.CharField(max_length=15)
    gateway = models.GenericIPAddressField(protocol="IPv4")
    prefix = models.PositiveSmallIntegerField(default=24, validators=PREFIX)
    external = models.ForeignKey(ExternalAddress, on_delete=models.PROTECT, null=True, blank=True, related_name="zones")
    domain = models.CharField(max_length=63, validators=[domain_grammar], blank=True)
    lease_first = models.GenericIPAddressField(
        protocol="IPv4", null=True, blank=True, help_text="addresses for guests nobody entered; none: they get none"
    )
    lease_last = models.GenericIPAddressField(protocol="IPv4", null=True, blank=True)
    in_kbit = models.PositiveIntegerField(null=True, blank=True, help_text="to its machines, kbit/s; none: unlimited")
    out_kbit = models.PositiveIntegerField(null=True, blank=True, help_text="from its machines, kbit/s")
    applied_at = models.DateTimeField(null=True, blank=True, help_text="last seen as wished on the host")

    objects = ZoneQuerySet.as_manager()

    class Meta:
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(fields=["host", "name"], name="one_zone_name"),
            models.UniqueConstraint(fields=["host", "number"], name="one_zone_number"),
            models.UniqueConstraint(fields=["host", "bridge"], name="one_zone_a_bridge"),
            models.CheckConstraint(condition=models.Q(prefix__gte=16, prefix__lte=29), name="zone_prefix_range"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def network(self) -> IPNetwork:
        """The zone's subnet, e.g. 10.10.1.0/24."""
        return IPNetwork(f"{self.gateway}/{self.prefix}").cidr

    @property
    def cidr(self) -> str:
        return str(self.network)

    def clean(self) -> None:
        try:
            network = self.network
        except (AddrFormatError, ValueError):
            return  # said beside the field
        if IPAddress(self.gateway) in (network.network, network.broadcast):
            raise ValidationError(
                {"gateway": f"{self.gateway} is the network's own or its broadcast address; use {network[1]}."}
            )
        for other in Zone.objects.filter(host=self.host_id).exclude(pk=self.pk):
            if network in other.network or other.network in network:
                raise ValidationError(
                    {"gateway": f"{self.cidr} overlaps {other.name} ({other.cidr}). Use another subnet."}
                )


class NetworkSeen(models.Model):
    """What the watcher last saw of a host's network. A row of its own: pages that only name a host don't read it."""

    host = models.OneToOneField(Host, on_delete=models.CASCADE, related_name="network")
    links = models.JSONField(default=dict, help_text="interfaces but machines': kind, MAC, addresses, by name")
    routes = models.JSONField(default=list, help_text="of the main table: to, way, device")
    added = models.JSONField(default=dict, help_text="external addresses Fridu put there: card by address")
    leases = models.JSONField(default=dict, help_text="by zone: address, MAC, name, end (seconds since 1970)")
    seen_at = models.DateTimeField(help_text="when it last looked different")

    class Meta:
        verbose_name_plural = "networks seen"

    def __str__(self) -> str:
        return f"network of {self.host}"


class VpnPeer(models.Model):
    """A user's way into the admin VPN: the certificate's common name and the address it always gets.

    Never deleted: an address somebody had stands in old logs.
    """

    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="vpn_peers")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="vpn_peers")
    name = models.CharField(max_length=40, validators=[peer_grammar], help_text="the certificate's common name")
    address = models.GenericIPAddressField(protocol="IPv4")
    created = models.DateTimeField(auto_now_add=True)
    revoked = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["host", "name"]
        constraints = [
            models.UniqueConstraint(fields=["host", "name"], name="one_peer_name"),
            models.UniqueConstraint(
                fields=["host", "address"], condition=models.Q(revoked=None), name="one_peer_an_address"
            ),
        ]

    def __str__(self) -> str:
        return self.name
