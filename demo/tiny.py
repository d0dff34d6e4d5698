"""The *tiny* image: a machine of 6 MB made of Debian's busybox-static and dropbear, byte for byte reproducible.

It boots to SSH in a few tenths of a second, takes its address by DHCP, has root locked until a key or a
password is set, and serves a web page naming itself on 8080 and an SMTP greeting on 2525.
"""

from __future__ import annotations

import gzip
import io
import re
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from demo import packages
from demo.layout import Problem

DROPBEAR = ("/usr/sbin/dropbear", "/usr/bin/dropbearkey")
SYSTEM_COMMANDS = ("init", "getty", "ifconfig", "ip", "route", "udhcpc", "halt", "poweroff", "reboot", "hwclock")
FOLDERS = {
    "root": 0o700,
    "root/.ssh": 0o700,
    "tmp": 0o1777,
    **dict.fromkeys(
        ("dev", "etc/dropbear", "etc/network", "home", "mnt", "proc", "run", "sys", "usr/bin", "var/log", "var/www"),
        0o755,
    ),
}
FILES = {
    "etc/passwd": (0o644, "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33:www:/var/www:/sbin/nologin\n"),
    "etc/group": (0o644, "root:x:0:\nwww:x:33:\n"),
    "etc/shadow": (0o600, "root:*:19000:0:99999:7:::\nwww:*:19000:0:99999:7:::\n"),
    "etc/shells": (0o644, "/bin/sh\n"),
    "etc/hostname": (0o644, "tiny\n"),
    "etc/hosts": (0o644, "127.0.0.1 localhost\n"),
    "etc/os-release": (0o644, 'ID=tiny\nNAME="Fridu tiny"\nPRETTY_NAME="Fridu tiny (busybox, dropbear)"\n'),
    "etc/nsswitch.conf": (0o644, "hosts: files dns\n"),
    "etc/fstab": (0o644, ""),
    "etc/network/interfaces": (0o644, "auto lo eth0\niface lo inet loopback\niface eth0 inet dhcp\n"),
    "etc/inittab": (
        0o644,
        """\
::sysinit:/etc/rc
::respawn:/usr/sbin/dropbear -F -r /etc/dropbear/dropbear_ed25519_host_key
::respawn:/etc/dhcp
::respawn:/bin/httpd -f -u www -p 8080 -h /var/www
::respawn:/bin/nc -ll -p 2525 -e /etc/smtp
console::respawn:/sbin/getty -L 115200 console vt100
::ctrlaltdel:/sbin/reboot
::shutdown:/bin/umount -a -r
""",
    ),
    "etc/rc": (
        0o755,
        """\
#!/bin/sh
# Under lxc these are mounted already; a kernel of one's own (Xen, qemu) needs them.
mounted() { grep -q " $1 " /proc/mounts 2>/dev/null; }
mounted /proc || mount -t proc proc /proc
mounted /sys || mount -t sysfs sysfs /sys
[ -c /dev/ptmx ] || mount -t devtmpfs dev /dev
mkdir -p /dev/pts
mounted /dev/pts || mount -t devpts devpts /dev/pts
mounted /run || mount -t tmpfs -o mode=755 run /run
mount -o remount,rw / 2>/dev/null
hostname -F /etc/hostname
ip link set lo up
key=/etc/dropbear/dropbear_ed25519_host_key
[ -s $key ] || dropbearkey -t ed25519 -f $key >/dev/null 2>&1
name=$(hostname)
echo "<!doctype html><title>$name</title><h1>$name</h1><p>Served by the machine $name." > /var/www/index.html
# Under qemu a stop is the press of a button.
[ ! -c /dev/input/event0 ] || acpid
""",
    ),
    "etc/acpi/PWRF/00000080": (0o755, "#!/bin/sh\nexec poweroff\n"),
    "etc/dhcp": (
        0o755,
        """\
#!/bin/sh
# Asks every second for as long as it takes: dom0's DHCP server may come up after the machine.
exec udhcpc -f -i eth0 -t 3 -T 1 -A 1 -s /etc/udhcpc.script -x hostname:$(hostname) >/run/udhcpc.log 2>&1
""",
    ),
    "etc/udhcpc.script": (
        0o755,
        """\
#!/bin/sh
case "$1" in
deconfig)
    ip addr flush dev $interface
    ip link set $interface up
    ;;
bound | renew)
    ip addr flush dev $interface
    ip addr add $ip/${mask:-24} dev $interface
    [ -n "$router" ] && ip route replace default via ${router%% *}
    : > /etc/resolv.conf
    [ -n "$domain" ] && echo "search $domain" >> /etc/resolv.conf
    for server in $dns; do echo "nameserver $server" >> /etc/resolv.conf; done
    ;;
esac
""",
    ),
    "etc/smtp": (
        0o755,
        """\
#!/bin/sh
# Enough of SMTP to be greeted and to take leave; it takes no mail.
name=$(hostname)
printf '220 %s ESMTP\\r\\n' "$name"
while read -r verb rest; do
    case "$verb" in
    [Qq][Uu][Ii][Tt]*) printf '221 %s closes\\r\\n' "$name"; exit ;;
    [HhEe][EeHh][Ll][Oo]*) printf '250 %s\\r\\n' "$name" ;;
    *) printf '502 %s takes no mail\\r\\n' "$name" ;;
    esac
done
""",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Member:
    """One member of the archive: a folder, a symbolic link or a file."""

    mode: int
    content: bytes | None = None
    link: str = ""


def build(target: Path, cache: Path) -> None:
    """Write the image archive (gzip-compressed tar) to `target`; packages are kept in `cache`. Raises Problem."""
    busybox = _busybox(cache)
    members = {name: Member(mode=mode) for name, mode in FOLDERS.items()}
    members["bin/busybox"] = Member(mode=0o755, content=busybox)
    for applet in _applets(busybox):
        members[f"bin/{applet}"] = Member(mode=0o777, link="busybox")
    members["var/run"] = Member(mode=0o777, link="../run")
    for command in SYSTEM_COMMANDS:
        members[f"sbin/{command}"] = Member(mode=0o777, link="../bin/busybox")
    for path in (*DROPBEAR, *_libraries(DROPBEAR)):
        members[path.lstrip("/")] = Member(mode=0o755, content=Path(path).read_bytes())
    for name, (mode, text) in FILES.items():
        members[name] = Member(mode=mode, content=text.encode())
    _write(target, members)


def _busybox(cache: Path) -> bytes:
    """Debian's static busybox out of its package, which is not installed: it would push out another busybox."""
    with tempfile.TemporaryDirectory() as folder:
        package = packages.fetch("busybox-static", cache)
        subprocess.run(("dpkg-deb", "-x", str(package), folder), check=True, timeout=60)
        for place in ("bin/busybox", "usr/bin/busybox"):
            if (Path(folder) / place).exists():
                return (Path(folder) / place).read_bytes()
    raise Problem("Debian's package busybox-static holds no busybox; the tiny image can't be built.")


def _applets(busybox: bytes) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "busybox"
        program.write_bytes(busybox)
        program.chmod(0o755)
        listed = subprocess.run((str(program), "--list"), capture_output=True, text=True, timeout=20, check=True)
    return [applet for applet in listed.stdout.split() if applet != "busybox"]


def _libraries(programs: tuple[str, ...]) -> list[str]:
    """What the programs are linked with, the dynamic loader included."""
    listed = subprocess.run(("ldd", *programs), capture_output=True, text=True, timeout=20, check=False)
    if listed.returncode != 0:
        raise Problem("dropbear is missing; the package dropbear-bin brings it.")
    return sorted(set(re.findall(r"(?:=> |^\t)(/\S+) \(0x", listed.stdout, re.MULTILINE)))


def _write(target: Path, members: dict[str, Member]) -> None:
    for name in list(members):
        for parent in Path(name).parents:
            if str(parent) != ".":
                members.setdefault(str(parent), Member(mode=0o755))
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name in sorted(members):
            member = members[name]
            info = tarfile.TarInfo(name)
            info.mode, info.mtime = member.mode, 0
            info.type = tarfile.SYMTYPE if member.link else tarfile.DIRTYPE
            info.linkname = member.link
            if member.content is not None:
                info.type, info.size = tarfile.REGTYPE, len(member.content)
            tar.addfile(info, io.BytesIO(member.content or b""))
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(target.name + ".new")
    new.write_bytes(gzip.compress(raw.getvalue(), 6, mtime=0))
    new.rename(target)
