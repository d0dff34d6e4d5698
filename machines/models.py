"""Machines, the images they are made from, grants, site defaults. Rows are the wish, the host is the fact."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.access import RULES, Verb
from accounts.models import Owner, SSHKey, name_grammar
from hosts.models import Host
from zones.models import Zone

if TYPE_CHECKING:
    from accounts.models import User

sha256 = RegexValidator(r"\A[0-9a-f]{64}\Z", "A SHA-256 digest has 64 hexadecimal digits.")


class Filesystem(models.TextChoices):
    EXT4 = "ext4", "ext4"
    EXT3 = "ext3", "ext3"


class Boot(models.TextChoices):
    """Where a machine's kernel comes from; lxc machines share the host's."""

    HOST = "host", "a kernel of the host's folder"
    IMAGE = "image", "the kernel taken out of its image"
    GRUB = "grub", "grub, running inside the machine"


class Image(models.Model):
    """A root filesystem as an archive in the host's images folder, known by its digest."""

    class Family(models.TextChoices):
        TINY = "tiny", "tiny (busybox)"
        DEBIAN = "debian", "Debian"
        UBUNTU = "ubuntu", "Ubuntu"
        ALPINE = "alpine", "Alpine"
        OPENSUSE = "opensuse", "openSUSE"
        FEDORA = "fedora", "Fedora"
        OTHER = "other", "unknown"

    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="images")
    name = models.CharField(max_length=31, validators=[name_grammar])
    archive = models.CharField(max_length=80, validators=[RegexValidator(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,79}\Z")])
    digest = models.CharField(max_length=64, blank=True, validators=[sha256], help_text="empty: not made yet")
    family = models.CharField(max_length=8, choices=Family)
    min_root_mib = models.PositiveIntegerField(default=64, help_text="smallest root volume it fits on")
    devices = models.BooleanField(default=False, help_text="its archive may bring device nodes")
    facts = models.JSONField(default=dict, blank=True, help_text="what its archive turned out to hold")
    made_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["host", "name"], name="one_image_name")]

    def __str__(self) -> str:
        return self.name


class SiteDefaults(models.Model):
    """What a new machine gets where nobody says otherwise; one row a host."""

    host = models.OneToOneField(Host, on_delete=models.CASCADE, related_name="defaults")
    image = models.ForeignKey(Image, on_delete=models.PROTECT, null=True, blank=True)
    memory_mib = models.PositiveIntegerField(default=128, validators=[MinValueValidator(16)])
    root_mib = models.PositiveIntegerField(default=256, validators=[MinValueValidator(16)])
    vcpus = models.PositiveSmallIntegerField(default=1)
    volume_group = models.CharField(max_length=63, blank=True, help_text="empty: image files")
    swap_mib = models.PositiveIntegerField(default=0, help_text="0: none")
    log_mib = models.PositiveIntegerField(default=0, help_text="0: none")
    filesystem = models.CharField(max_length=4, choices=Filesystem, default=Filesystem.EXT4)
    boot = models.CharField(max_length=5, choices=Boot, default=Boot.HOST)
    kernel = models.CharField(max_length=80, blank=True, help_text="a file of the host's kernels folder")
    stages = models.JSONField(default=dict, blank=True, help_text='by stage "yes", "no", "force" or "only"')

    class Meta:
        verbose_name_plural = "site defaults"

    def __str__(self) -> str:
        return f"defaults of {self.host}"


class MachineQuerySet(models.QuerySet["Machine"]):
    def visible_to(self, user: User, action: str = "machine.view") -> MachineQuerySet:
        """The machines on which `user` may do `action`, by the policy table alone."""
        rule = RULES[action]
        if not user.is_active:
            return self.none()
        if user.role in rule.roles:
            return self
        if rule.verb is None or user.role != "owner":
            return self.none()
        granted = Grant.objects.filter(user=user, verbs__contains=f",{rule.verb},").filter(
            Q(expires=None) | Q(expires__gt=timezone.now())
        )
        return self.filter(
            Q(owner__person=user) | Q(owner__membership__user=user) | Q(pk__in=granted.values("machine"))
        ).distinct()


class Machine(models.Model):
    """A customer's Linux machine (Xen domU, lxc or qemu guest)."""

    class Wanted(models.TextChoices):
        RUNNING = "running", "running"
        STOPPED = "stopped", "stopped"
        PAUSED = "paused", "paused"

    class OnCrash(models.TextChoices):
        RESTART = "restart", "start it again"
        DESTROY = "destroy", "leave it off"
        PRESERVE = "preserve", "keep what is left of it, to look at"

    class Observed(models.TextChoices):
        UNKNOWN = "unknown", "not looked at yet"
        RUNNING = "running", "running"
        STOPPED = "stopped", "stopped"
        PAUSED = "paused", "paused"
        CRASHED = "crashed", "crashed"
        MISSING = "missing", "missing on the host"

    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="machines")
    zone = models.ForeignKey(Zone, on_delete=models.PROTECT, related_name="machines")
    owner = models.ForeignKey(Owner, on_delete=models.PROTECT, related_name="machines")
    name = models.CharField(max_length=31, validators=[name_grammar])
    address = models.GenericIPAddressField(protocol="IPv4")
    mac = models.CharField(max_length=17)
    uuid = models.UUIDField(default=uuid.uuid4, unique=True)
    vif = models.CharField(max_length=15)
    uid_base = models.PositiveBigIntegerField(help_text="first of its 65,536 host uids")
    vcpus = models.PositiveSmallIntegerField(default=1, validators=[MinValueValidator(1), MaxValueValidator(64)])
    memory_mib = models.PositiveIntegerField(validators=[MinValueValidator(16)])
    root_mib = models.PositiveIntegerField(validators=[MinValueValidator(16)])
    volume_group = models.CharField(max_length=63, blank=True, help_text="empty: image files")
    swap_mib = models.PositiveIntegerField(default=0, help_text="0: none")
    log_mib = models.PositiveIntegerField(default=0, help_text="0: none")
    filesystem = models.CharField(max_length=4, choices=Filesystem, default=Filesystem.EXT4)
    image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="machines")
    root_generation = models.PositiveIntegerField(default=1)
    boot = models.CharField(max_length=5, choices=Boot, default=Boot.HOST)
    kernel = models.CharField(max_length=80, blank=True, help_text="a file of the host's kernels folder")
    rescue = models.ForeignKey(Image, on_delete=models.PROTECT, null=True, blank=True, related_name="rescuing")
    ssh_keys = models.ManyToManyField(SSHKey, blank=True, related_name="machines")
    autostart = models.BooleanField(default=True)
    start_order = models.PositiveSmallIntegerField(default=100, help_text="lower starts first with the host")
    on_crash = models.CharField(max_length=8, choices=OnCrash, default=OnCrash.RESTART)
    cpu_weight = models.PositiveSmallIntegerField(
        default=0, help_text="share of busy processors, 256 is usual; 0: that"
    )
    cpu_cap = models.PositiveSmallIntegerField(default=0, help_text="percent of one processor; 0: no cap")
    net_in_kbit = models.PositiveIntegerField(default=0, help_text="kbit/s towards it; 0: no limit")
    net_out_kbit = models.PositiveIntegerField(default=0, help_text="kbit/s from it; 0: no limit")
    net_share_kbit = models.PositiveIntegerField(default=0, help_text="kbit/s of its zone's that it always gets")
    disk_kib_s = models.PositiveIntegerField(default=0, help_text="KiB/s read and written; 0: no limit")
    disk_iops = models.PositiveIntegerField(default=0, help_text="reads and writes a second; 0: no limit")
    wanted = models.CharField(max_length=8, choices=Wanted, default=Wanted.RUNNING)
    observed = models.CharField(max_length=8, choices=Observed, default=Observed.UNKNOWN)
    observed_at = models.DateTimeField(null=True, blank=True)
    since = models.DateTimeField(null=True, blank=True, help_text="when the observed state began")
    built_at = models.DateTimeField(null=True, blank=True, help_text="when its create job ended well")
    deleting = models.BooleanField(default=False)
    adopted = models.BooleanField(default=False, help_text="it was on the host before it was in the panel")
    drift = models.JSONField(default=dict, blank=True, help_text="what the last round found otherwise than wished")
    ignored_drift = models.CharField(max_length=64, blank=True, help_text="digest of a difference to be left alone")
    created = models.DateTimeField(auto_now_add=True)

    objects = MachineQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["host", "name"], name="one_machine_name"),
            models.UniqueConstraint(fields=["host", "address"], name="one_machine_an_address"),
            models.UniqueConstraint(fields=["host", "mac"], name="one_machine_a_mac"),
            models.UniqueConstraint(fields=["host", "vif"], name="one_machine_a_vif"),
            models.UniqueConstraint(fields=["host", "uid_base"], name="one_machine_a_uid_block"),
        ]

    def __str__(self) -> str:
        return self.name


class Snapshot(models.Model):
    """What a machine's root volume held at one moment; it goes by itself when it expires."""

    machine = models.ForeignKey(Machine, on_delete=models.PROTECT, related_name="snapshots")
    label = models.CharField(max_length=20, help_text="small letters, digits and hyphens")
    image = models.ForeignKey(
        Image, on_delete=models.PROTECT, related_name="snapshots", help_text="what the root was made from"
    )
    taken_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    note = models.CharField(max_length=200, blank=True)
    taken_at = models.DateTimeField(null=True, blank=True, help_text="empty: its job has not ended well")
    expires = models.DateTimeField(null=True, blank=True)
    percent = models.FloatField(default=0, help_text="how much of its room changes have filled, as last seen")
    size_mib = models.PositiveIntegerField(default=0)
    deleting = models.BooleanField(default=False)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created"]
        constraints = [models.UniqueConstraint(fields=["machine", "label"], name="one_snapshot_label")]

    def __str__(self) -> str:
        return f"{self.machine}: {self.label}"


class Figures(models.Model):
    """What one machine used, as the watcher's rounds found it; one row a machine."""

    machine = models.OneToOneField(Machine, on_delete=models.CASCADE, related_name="figures")
    at = models.DateTimeField(null=True, blank=True)
    counters = models.JSONField(default=dict, blank=True, help_text="as the host counts them, of the last round")
    now = models.JSONField(default=dict, blank=True, help_text="rates of the last round")
    hour = models.JSONField(default=list, blank=True, help_text="samples of the last hour")
    day = models.JSONField(default=list, blank=True, help_text="samples of the last day")

    def __str__(self) -> str:
        return f"figures of {self.machine}"


class Expected(models.Model):
    """A machine of a former box that something else runs: its name, address and MAC are kept for it here.

    The panel neither starts nor deletes it; a machine made here under its name takes the entry over.
    """

    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="expected")
    zone = models.ForeignKey(Zone, on_delete=models.PROTECT, related_name="expected")
    name = models.CharField(max_length=31, validators=[name_grammar])
    address = models.GenericIPAddressField(protocol="IPv4")
    mac = models.CharField(max_length=17, blank=True, help_text="none: it gets no lease")
    vif = models.CharField(max_length=15, help_text="the interface its own file must name for the rules to know it")
    facts = models.JSONField(default=dict, blank=True, help_text="what its file said: memory, disks, kernel; as text")
    source = models.CharField(max_length=100, blank=True, help_text="the file it was read from")
    created = models.DateTimeField(auto_now_add=True)
    noted_at = models.DateTimeField(null=True, blank=True, help_text="since when the host's DHCP and firewall know it")

    class Meta:
        ordering = ["name"]
        verbose_name = "kept entry"
        verbose_name_plural = "kept entries"
        constraints = [
            models.UniqueConstraint(fields=["host", "name"], name="one_expected_name"),
            models.UniqueConstraint(fields=["host", "address"], name="one_expected_an_address"),
            models.UniqueConstraint(fields=["host", "mac"], condition=~Q(mac=""), name="one_expected_a_mac"),
        ]

    def __str__(self) -> str:
        return self.name


class Grant(models.Model):
    """Verbs on one machine for another user, with an end."""

    machine = models.ForeignKey(Machine, on_delete=models.CASCADE, related_name="grants")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="grants")
    verbs = models.CharField(max_length=80, help_text="comma before and after each, e.g. ,view,power,")
    expires = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["machine", "user"], name="one_grant")]

    def __str__(self) -> str:
        return f"{self.user} on {self.machine}: {self.verbs.strip(',')}"


def verbs_on(user: User, machine: Machine) -> frozenset[str]:
    """The verbs `user` holds on `machine`: all where he belongs to its owner, else those of a live grant."""
    owner = machine.owner
    if owner.person_id == user.pk or owner.membership_set.filter(user=user).exists():
        return frozenset(Verb)
    grant = machine.grants.filter(user=user).filter(Q(expires=None) | Q(expires__gt=timezone.now())).first()
    return frozenset(v for v in grant.verbs.split(",") if v) if grant else frozenset()
