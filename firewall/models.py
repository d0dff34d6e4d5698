"""What the operator edits of the firewall, and the revisions made of it."""

from __future__ import annotations

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models

from firewall.specs import PLACES
from hosts.models import Host
from zones.models import ExternalAddress, Zone

service_grammar = RegexValidator(
    r"\A[A-Za-z][A-Za-z0-9_-]{0,30}\Z",
    "Use 1 to 31 letters, digits, hyphens and underscores, beginning with a letter, for example DomiWEB.",
)
PORT = [MinValueValidator(1), MaxValueValidator(65535)]


class Proto(models.TextChoices):
    TCP = "tcp", "tcp"
    UDP = "udp", "udp"
    BOTH = "both", "tcp and udp"


class PublishedService(models.Model):
    """External proto:port → machine:port (the seed's CreateApp); without a zone, a port of dom0 itself (ZONE=none)."""

    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="services")
    name = models.CharField(max_length=31, validators=[service_grammar])
    zone = models.ForeignKey(Zone, on_delete=models.PROTECT, null=True, blank=True, related_name="services")
    external = models.ForeignKey(
        ExternalAddress,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="services",
        help_text="none: every external address of the host that does not publish the port otherwise",
    )
    nic = models.CharField(max_length=15, blank=True, help_text="dom0's own: only on this card; none: on each")
    proto = models.CharField(max_length=4, choices=Proto)
    port = models.PositiveIntegerField(validators=PORT)
    port_last = models.PositiveIntegerField(validators=PORT)
    target = models.GenericIPAddressField(protocol="IPv4", null=True, blank=True, help_text="none: dom0")
    target_port = models.PositiveIntegerField(validators=PORT)
    live = models.BooleanField(default=False, help_text="the revision in force publishes it just so")

    class Meta:
        ordering = ["external_id", "proto", "port"]
        constraints = [
            models.UniqueConstraint(fields=["host", "name"], name="one_service_name"),
            models.UniqueConstraint(fields=["external", "proto", "port"], name="one_service_a_port"),
            models.CheckConstraint(condition=models.Q(port_last__gte=models.F("port")), name="service_range"),
        ]

    def __str__(self) -> str:
        return self.name


class ZoneRestriction(models.Model):
    """The seed's TuneZone: what a zone may not (or only) send or receive."""

    class Direction(models.TextChoices):
        IN = "in", "in"
        OUT = "out", "out"

    class Action(models.TextChoices):
        DROP = "DROP", "drop"
        REJECT = "REJECT", "reject"
        ACCEPT = "ACCEPT", "accept"

    zone = models.ForeignKey(Zone, on_delete=models.CASCADE, related_name="restrictions")
    name = models.CharField(max_length=31, validators=[service_grammar])
    direction = models.CharField(max_length=3, choices=Direction)
    action = models.CharField(max_length=6, choices=Action, default=Action.DROP)
    proto = models.CharField(max_length=4, choices=Proto)
    port = models.PositiveIntegerField(validators=PORT)
    port_last = models.PositiveIntegerField(validators=PORT)
    address = models.CharField(max_length=18, blank=True, help_text="only to or from this address or network")

    class Meta:
        ordering = ["zone", "name"]
        constraints = [models.UniqueConstraint(fields=["zone", "name"], name="one_restriction_name")]

    def __str__(self) -> str:
        return self.name


class PolicyCell(models.Model):
    """Who may open connections to whom: one cell of the matrix.

    No row = nothing; but a zone with an external address reaches the Internet unless its row says otherwise.
    """

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="policy")
    source = models.CharField(max_length=20, help_text="internet, vpn, or zone:NUMBER")
    target = models.CharField(max_length=20, help_text="internet, vpn, dom0, or zone:NUMBER")
    ports = models.CharField(max_length=200, default="all", help_text="all, none, or such as tcp:25,udp:514-520")

    class Meta:
        ordering = ["source", "target"]
        constraints = [models.UniqueConstraint(fields=["host", "source", "target"], name="one_policy_cell")]

    def __str__(self) -> str:
        return f"{self.source} → {self.target}: {self.ports}"


class CustomRule(models.Model):
    """An operator's own rule before or after the compiled ones: iptables arguments, a reason, an author."""

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="custom_rules")
    place = models.CharField(max_length=17, choices=[(place, place) for place in PLACES])
    rule = models.CharField(max_length=300)
    reason = models.CharField(max_length=200)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="custom_rules")
    created = models.DateTimeField(auto_now_add=True)
    expires = models.DateTimeField(null=True, blank=True, help_text="no wish any more from then on")

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.place}: {self.rule}"


class Revision(models.Model):
    """All firewall wishes at one moment, rendered; what an apply puts on the host."""

    class State(models.TextChoices):
        DRAFT = "draft", "not applied yet"
        TRIAL = "trial", "on trial"
        LIVE = "live", "live"
        FORMER = "former", "replaced"
        RETURNED = "returned", "taken back"
        FAILED = "failed", "not applied"

    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="revisions")
    number = models.PositiveIntegerField()
    site = models.JSONField(help_text="the objects it was rendered from")
    files = models.JSONField(help_text="rendered text by file name")
    digest = models.CharField(max_length=64)
    words = models.JSONField(default=list, help_text="what it opens, closes and moves")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="revisions")
    why = models.CharField(max_length=200, blank=True)
    state = models.CharField(max_length=8, choices=State, default=State.DRAFT)
    seconds = models.PositiveSmallIntegerField(default=60, help_text="how long it is tried before it is taken back")
    until = models.DateTimeField(null=True, blank=True, help_text="on trial: when the guard takes it back")
    nonce = models.CharField(
        max_length=32, blank=True, help_text="made after the rules were loaded; confirming needs it"
    )
    created = models.DateTimeField(auto_now_add=True)
    live_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["host", "number"], name="one_revision_number")]

    def __str__(self) -> str:
        return f"revision {self.number}"

    @property
    def name(self) -> str:
        """What the host calls it: its folder there, and the beginning of its trials' tokens."""
        return f"{self.number}-{self.digest[:12]}"


class Watched(models.Model):
    """What the watcher last saw of a host's firewall: which revision is in force, and how the live rules differ."""

    host = models.OneToOneField(Host, on_delete=models.CASCADE, related_name="firewall")
    confirmed = models.CharField(max_length=40, blank=True, help_text="NUMBER-DIGEST; 0: closed but SSH")
    pending = models.CharField(max_length=40, blank=True, help_text="the one on trial")
    drift = models.JSONField(default=list, help_text="differences to the one in force, line by line")
    drift_since = models.DateTimeField(null=True, blank=True)
    seen_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"firewall of {self.host}"


class Counter(models.Model):
    """What the host's rules counted for one object this week: connections of a service, packets a restriction met."""

    class Kind(models.TextChoices):
        SERVICE = "service", "published service"
        RESTRICTION = "restriction", "zone restriction"
        CUSTOM = "custom", "own rule"

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="counters")
    kind = models.CharField(max_length=11, choices=Kind)
    name = models.CharField(max_length=330, help_text="the service, ZONE-NUMBER/RESTRICTION, PLACE: RULE")
    week = models.DateField(help_text="the Monday it is counted from")
    count = models.PositiveBigIntegerField(default=0, help_text="in that week")
    begun = models.DateTimeField(null=True, blank=True, help_text="when the object was first seen; none: long ago")
    raw = models.PositiveBigIntegerField(default=0, help_text="as the kernel last showed it; a reload starts it anew")

    class Meta:
        ordering = ["host", "kind", "name"]
        constraints = [models.UniqueConstraint(fields=["host", "kind", "name"], name="one_counter_an_object")]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {self.count}"
