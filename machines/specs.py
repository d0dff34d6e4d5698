"""A machine as the planner reads it: every value decided, nothing left to draw. Pure."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, field, fields

from dom0.dnsmasq import Files
from dom0.members import Member, machine_member

MIB = 1 << 20
RESCUE_MIB = 256  # at least, of a throw-away root
UID_BLOCK = 65_536  # host user ids a machine
ROOT_HASH = "root-hash"  # name of the job's secret that holds a crypt(3) hash
LOCKED = "locked"


@dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """A root filesystem's archive; `min_root_mib` is the smallest volume it fits on."""

    name: str
    archive: str
    digest: str
    family: str
    min_root_mib: int
    devices: bool = False  # whether its archive may bring device nodes


@dataclass(frozen=True, kw_only=True)
class VolumeSpec:
    """One of a machine's volumes: `name` as dom0.volumes knows it, `content` what it is to hold."""

    kind: str  # "root", "swap", "log"
    name: str
    path: str
    size_mib: int
    content: str
    fs_uuid: str

    @property
    def size_bytes(self) -> int:
        return self.size_mib * MIB


@dataclass(frozen=True, kw_only=True)
class BootSpec:
    """Where the kernel comes from: `how` is "host", "image" or "grub"; paths are the host's, "" where there is none.

    With grub the kernel is grub's own program for Xen, which starts the one in the machine's root.
    """

    how: str = "host"
    kernel: str = ""
    initrd: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(path for path in (self.kernel, self.initrd) if path)


@dataclass(frozen=True, kw_only=True)
class LimitsSpec:
    """What a machine may take; 0 is no limit. Rates in kbit/s and KiB/s, the cap in percent of one processor."""

    cpu_weight: int = 0
    cpu_cap: int = 0
    net_in_kbit: int = 0
    net_out_kbit: int = 0
    net_share_kbit: int = 0
    disk_kib_s: int = 0
    disk_iops: int = 0


@dataclass(frozen=True, kw_only=True)
class PlaceSpec:
    """What of dom0 a machine's plan needs: hypervisor, folders, and how its own programs are called."""

    host: str
    libvirt: str
    volumes: str
    state: str
    run: str
    python: str  # the interpreter that runs dom0.tune
    project: str  # the folder it finds dom0 in
    grows_mounted: bool = True  # whether dom0's root may have the kernel grow a mounted filesystem

    @property
    def lxc(self) -> bool:
        return self.libvirt.startswith("lxc:")

    @property
    def xen(self) -> bool:
        return self.libvirt.startswith("xen:")


@dataclass(frozen=True, kw_only=True)
class ZoneSpec:
    """The zone a machine lives in."""

    name: str
    bridge: str
    gateway: str
    domain: str


@dataclass(frozen=True, kw_only=True)
class EntrySpec:
    """What the firewall, DHCP and DNS of a zone know of a machine, whoever runs it."""

    place: PlaceSpec
    zone: ZoneSpec
    name: str
    address: str
    mac: str
    vif: str

    @property
    def dnsmasq(self) -> Files:
        return Files(state=self.place.state, run=self.place.run, zone=self.zone.name)

    @property
    def members(self) -> tuple[Member, ...]:
        return machine_member(self.vif, self.mac, self.address)

    @property
    def members_file(self) -> str:
        """What `nft -f` reads at boot to make the machine a member again."""
        return f"{self.place.state}/members/machine-{self.name}.nft"


@dataclass(frozen=True, kw_only=True)
class MachineSpec(EntrySpec):
    """One machine as wished. `uuid`, `mac`, `vif` and `uid_base` were drawn when the wish was saved.

    `keys` are authorized_keys lines. `password` says which root password the root filesystem has: "locked", or the
    name of a one-time one, whose hash is a secret of the job.
    """

    image: ImageSpec
    uuid: str
    uid_base: int
    vcpus: int
    memory_mib: int
    root_mib: int
    root_generation: int = 1
    volume_group: str = ""  # "": image files in the host's folder
    swap_mib: int = 0  # 0: none
    log_mib: int = 0
    filesystem: str = "ext4"  # or ext3
    boot: BootSpec = field(default_factory=lambda: BootSpec())
    limits: LimitsSpec = field(default_factory=lambda: LimitsSpec())
    start_order: int = 100
    on_crash: str = "restart"
    keys: tuple[str, ...] = ()
    password: str = LOCKED
    autostart: bool = True  # with the host, as long as it is wished running
    promised_mib: int = 0  # of the host's free memory, to machines that were asked for before
    rescue: ImageSpec | None = None  # it starts from a throw-away root of that image, its own volumes beside it
    foreign: bool = False  # made by something else: its definition and volumes stay as they are

    @property
    def volume(self) -> str:
        """The root volume's name."""
        return self.root.name

    @property
    def volume_path(self) -> str:
        return self.root.path

    @property
    def root(self) -> VolumeSpec:
        return self._volume("root", self.root_mib, self.filesystem, self.fs_uuid)

    @property
    def others(self) -> tuple[VolumeSpec, ...]:
        """The volumes beside the root, made empty and formatted."""
        sizes = (("swap", self.swap_mib, "swap"), ("log", self.log_mib, "ext4"))
        drawn = uuid.UUID(self.uuid)
        return tuple(self._volume(*each, str(uuid.uuid5(drawn, each[0]))) for each in sizes if each[1])

    @property
    def volumes(self) -> tuple[VolumeSpec, ...]:
        return (self.root, *self.others)

    @property
    def volume_names(self) -> tuple[str, ...]:
        """All that may be there, wished now or once."""
        return tuple(self._name(kind) for kind in ("root", "swap", "log"))

    def _name(self, kind: str) -> str:
        return f"{self.volume_group}/{self.name}-{kind}" if self.volume_group else f"{self.name}-{kind}"

    def _volume(self, kind: str, size_mib: int, content: str, fs_uuid: str) -> VolumeSpec:
        name = self._name(kind)
        path = f"/dev/{name}" if self.volume_group else f"{self.place.volumes}/{name}.img"
        return VolumeSpec(kind=kind, name=name, path=path, size_mib=size_mib, content=content, fs_uuid=fs_uuid)

    @property
    def rescue_root(self) -> VolumeSpec:
        """The throw-away root it starts from while it is rescued; there or not."""
        size = max(RESCUE_MIB, self.rescue.min_root_mib * 2 if self.rescue else 0)
        return self._volume("rescue", size, "ext4", str(uuid.uuid5(uuid.UUID(self.uuid), "rescue")))

    @property
    def own_mount(self) -> str:
        """Where libvirt's hook mounts its own root meanwhile, which the rescue system sees as /mnt/root."""
        return f"{self.mount}.own"

    @property
    def root_mark(self) -> str:
        """The mark of a volume that holds this image's root in this generation."""
        return f"{self.image.digest}:{self.root_generation}"

    @property
    def fs_uuid(self) -> str:
        """The root filesystem's UUID: this machine's and this generation's alone, and always the same."""
        return str(uuid.uuid5(uuid.UUID(self.uuid), f"root:{self.root_generation}"))

    @property
    def mount(self) -> str:
        """Where libvirt's hook mounts the root while the machine runs."""
        return f"{self.place.run}/machines/{self.uuid}"

    @property
    def log_mount(self) -> str:
        """Where it mounts the log volume, which the machine sees as /var/log."""
        return f"{self.mount}.log"

    @property
    def golden(self) -> str:
        """Which of the image's golden filesystems its root is a copy of."""
        return self.image.digest if self.filesystem == "ext4" else f"{self.image.digest}.{self.filesystem}"

    @property
    def forced_file(self) -> str:
        """Holds the name of the last forced wish, and which stages were done again for it."""
        return f"{self.place.run}/forced/{self.uuid}"

    @property
    def autostart_file(self) -> str:
        """Has dom0 start it with the host, in which order (dom0.autostart)."""
        return f"{self.place.state}/autostart/{self.uuid}"

    @property
    def restart_file(self) -> str:
        """Holds the name of the last restart that was carried out."""
        return f"{self.place.run}/restarts/{self.uuid}"


@dataclass(frozen=True, kw_only=True)
class RescueSpec(MachineSpec):
    """The machine with its throw-away root in its root's place: for the stages that make one."""

    @classmethod
    def of(cls, spec: MachineSpec) -> RescueSpec:
        """Raises ValueError for a machine that is not to be rescued."""
        if spec.rescue is None:
            raise ValueError(f"{spec.name} is not to be rescued")
        held = {each.name: getattr(spec, each.name) for each in fields(MachineSpec)}
        wish = {"image": spec.rescue, "root_mib": spec.rescue_root.size_mib, "filesystem": "ext4"}
        return cls(**{**held, **wish, "swap_mib": 0, "log_mib": 0, "root_generation": 1})

    @property
    def root(self) -> VolumeSpec:
        return self.rescue_root


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """The mark of what was written into a root filesystem: "BASE/KEYS/PASSWORD"."""

    base: str
    keys: str
    password: str

    def __str__(self) -> str:
        return f"{self.base}/{self.keys}/{self.password}"

    @classmethod
    def read(cls, mark: str) -> Tuned | None:
        """The mark taken apart, None for one that says nothing."""
        parts = mark.split("/")
        return cls(base=parts[0], keys=parts[1], password=parts[2]) if len(parts) == 3 else None


def short_digest(text: str) -> str:
    """Twelve hexadecimal digits that tell one text from another."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]
