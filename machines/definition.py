"""What libvirt is told of a machine: one definition each for lxc, Xen's PV guests and qemu, by the host's URI. Pure.

Whatever a definition needs of the host (kernel, volumes, bridge) has been looked at before; it names it.
"""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

from machines.specs import UID_BLOCK, MachineSpec, short_digest

NAMESPACE = "https://fridu.org/xmlns/machine/1"
#: Debian's own. It gives the interface our name before it is up, so the rules know it from its first packet on.
VIF_SCRIPT = "vif-bridge"
#: How a guest names its disks and its console.
DISKS = {"root": "a", "swap": "b", "log": "c"}
#: Where a rescued lxc machine has its own root.
OWN = {"root": "/mnt/root", "log": "/mnt/log"}  # where a rescue system on lxc sees the machine's own volumes
CMDLINE = "root=/dev/{root} ro console={console}"

_LXC = """\
<domain type="lxc">
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <metadata>
    <fridu:machine xmlns:fridu="{namespace}">
      <fridu:root volume={volume} mount={mount} uid_base="{uid_base}"/>{log}{definition}
    </fridu:machine>
  </metadata>
  <memory unit="MiB">{memory_mib}</memory>
  <vcpu>{vcpus}</vcpu>
  <os>
    <type arch="x86_64">exe</type>
    <init>/sbin/init</init>
  </os>
  <idmap>
    <uid start="0" target="{uid_base}" count="{block}"/>
    <gid start="0" target="{uid_base}" count="{block}"/>
  </idmap>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <filesystem type="mount" accessmode="passthrough">
      <source dir={mount}/>
      <target dir="/"/>
    </filesystem>{var_log}
    <interface type="bridge">
      <mac address={mac}/>
      <source bridge={bridge}/>
      <target dev={vif}/>
      <guest dev="eth0"/>
    </interface>
    <console type="pty"/>
  </devices>
</domain>
"""

_VAR_LOG = """
    <filesystem type="mount" accessmode="passthrough">
      <source dir={mount}/>
      <target dir="/var/log"/>
    </filesystem>"""

_GUEST = """\
<domain type="{type}">
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <metadata>
    <fridu:machine xmlns:fridu="{namespace}">
      <fridu:root volume={volume}/>{definition}
    </fridu:machine>
  </metadata>
  <memory unit="MiB">{memory_mib}</memory>
  <vcpu>{vcpus}</vcpu>
  <os>
    {os_type}
    <kernel>{kernel}</kernel>{initrd}{cmdline}
  </os>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>{on_crash}</on_crash>
  <devices>{disks}
    <interface type="bridge">
      <mac address={mac}/>
      <source bridge={bridge}/>{interface}
      <target dev={vif}/>
    </interface>
    <console type="pty">
      <target type={console}/>
    </console>{more}
  </devices>
</domain>
"""

_DISK = """
    <disk type="{kind}" device="disk">
      <driver {driver}/>
      <source {source}={path}/>
      <target dev="{name}" bus="{bus}"/>
    </disk>"""


def domain_xml(spec: MachineSpec) -> str:
    """The definition libvirt gets, with its own digest in the metadata."""
    digest = definition_digest(spec)
    return _domain(spec, f'\n      <fridu:definition digest="{digest}"/>')


def definition_digest(spec: MachineSpec) -> str:
    """What tells one definition from another: it changes whenever the machine must be defined anew."""
    return short_digest(_domain(spec, ""))


def fstab(spec: MachineSpec) -> str:
    """What the machine mounts by itself: all of its volumes where it has a kernel of its own."""
    if spec.place.lxc:
        return "# The root filesystem is mounted by the host.\n"
    lines = [f"/dev/{disk(spec, 'root')} / {spec.filesystem} noatime,errors=remount-ro 0 1\n"]
    for volume in spec.others:
        where = f"/dev/{disk(spec, volume.kind)}"
        # A machine whose log or swap does not come up starts all the same.
        lines.append(
            f"{where} none swap nofail 0 0\n"
            if volume.kind == "swap"
            else f"{where} /var/log {volume.content} noatime,nofail 0 2\n"
        )
    return "".join(lines)


def disk(spec: MachineSpec, kind: str) -> str:
    """What the guest calls that volume: "xvda" under Xen, "vda" under qemu."""
    return f"{'xvd' if spec.place.xen else 'vd'}{DISKS[kind]}"


def _domain(spec: MachineSpec, definition: str) -> str:
    volumes = (spec.rescue_root, *spec.volumes) if spec.rescue else spec.volumes
    common = {
        "name": escape(spec.name),
        "uuid": spec.uuid,
        "namespace": NAMESPACE,
        "volume": quoteattr(volumes[0].path),
        "definition": definition,
        "memory_mib": spec.memory_mib,
        "vcpus": spec.vcpus,
        "mac": quoteattr(spec.mac),
        "bridge": quoteattr(spec.zone.bridge),
        "vif": quoteattr(spec.vif),
    }
    if spec.place.lxc:
        mount = quoteattr(spec.mount)
        beside = _own(spec) if spec.rescue else _log(spec)
        return _LXC.format(**common, **beside, mount=mount, uid_base=spec.uid_base, block=UID_BLOCK)
    return _GUEST.format(
        **common,
        **(_xen() if spec.place.xen else _qemu()),
        **_boot(spec),
        on_crash=spec.on_crash,
        disks="".join(_disk(spec, name, each.path) for name, each in zip(_names(spec), volumes, strict=False)),
    )


def _names(spec: MachineSpec) -> list[str]:
    """What the guest calls its disks, in the order of its volumes; rescued, each is one further."""
    if spec.rescue:
        return [f"{'xvd' if spec.place.xen else 'vd'}{letter}" for letter in "abcd"]
    return [disk(spec, volume.kind) for volume in spec.volumes]


def _own(spec: MachineSpec) -> dict[str, str]:
    """An lxc machine's own volumes while it is rescued: libvirt's hook mounts them, they are shown as OWN says.

    Beside each other and not one in the other: a root too broken to mount leaves the log to be read.
    """
    told, at = "", ""
    for volume in spec.volumes:
        if volume.kind in OWN:
            mount = quoteattr(spec.own_mount if volume.kind == "root" else spec.log_mount)
            told += f"\n      <fridu:own volume={quoteattr(volume.path)} mount={mount}/>"
            at += _VAR_LOG.format(mount=mount).replace('"/var/log"', f'"{OWN[volume.kind]}"')
    return {"log": told, "var_log": at}


def _log(spec: MachineSpec) -> dict[str, str]:
    """The log volume of an lxc machine: libvirt's hook mounts it, libvirt shows it as /var/log."""
    log = next((volume for volume in spec.others if volume.kind == "log"), None)
    if log is None:
        return {"log": "", "var_log": ""}
    path, mount = quoteattr(log.path), quoteattr(spec.log_mount)
    return {"log": f"\n      <fridu:log volume={path} mount={mount}/>", "var_log": _VAR_LOG.format(mount=mount)}


def _xen() -> dict[str, str]:
    """A PV guest: no emulated hardware at all."""
    return {
        "type": "xen",
        "os_type": '<type arch="x86_64" machine="xenpv">linux</type>',
        "interface": f"\n      <script path={quoteattr(VIF_SCRIPT)}/>",
        "console": '"xen"',
        "more": "",
    }


def _qemu() -> dict[str, str]:
    """By emulation; entropy from the host, for a fresh machine makes its keys before it has any."""
    rng = '\n    <rng model="virtio">\n      <backend model="random">/dev/urandom</backend>\n    </rng>'
    return {
        "type": "qemu",
        "os_type": '<type arch="x86_64" machine="q35">hvm</type>',
        "interface": '\n      <model type="virtio"/>',
        "console": '"serial"',
        "more": rng,
    }


def _boot(spec: MachineSpec) -> dict[str, str]:
    """A kernel that looks for its root where we put it; grub finds both by itself."""
    boot = spec.boot
    line = CMDLINE.format(root=disk(spec, "root"), console="hvc0" if spec.place.xen else "ttyS0")
    return {
        "kernel": escape(boot.kernel),
        "initrd": f"\n    <initrd>{escape(boot.initrd)}</initrd>" if boot.initrd else "",
        "cmdline": "" if boot.how == "grub" else f"\n    <cmdline>{line}</cmdline>",
    }


def _disk(spec: MachineSpec, name: str, path: str) -> str:
    """A volume as it lies, a device or an image file; under Xen dom0's kernel serves both."""
    block = bool(spec.volume_group)
    if spec.place.xen:
        driver = 'name="phy"' if block else 'name="qemu" type="raw"'
    else:
        driver = 'name="qemu" type="raw" cache="none" discard="unmap"'
    return _DISK.format(
        kind="block" if block else "file",
        driver=driver,
        source="dev" if block else "file",
        path=quoteattr(path),
        name=name,
        bus="xen" if spec.place.xen else "virtio",
    )
