"""An image's archive on its way into the images folder: taken from the imports, or built by mmdebstrap.

What an archive turned out to be is noted beside it as `.ARCHIVE.made` (JSON: its digest, the size its root needs in
bytes, what archives.Unpacked says): that file is what tells a finished one.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from dom0 import files, golden, kernels, runner, uploads
from dom0.errors import CommandFailed, Refused
from dom0.host import HostConfig

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.zst", ".tar.bz2")
SOURCES = ("/etc/apt/sources.list", "/etc/apt/sources.list.d")
BUILD_S = 1800.0
_MIRROR = re.compile(r"^(?:URIs:|deb(?:\s+\[[^\]]*\])?)\s+(\S+/(?:debian|ubuntu)/?)(?:\s|$)", re.MULTILINE)
_SUITE = re.compile(r"[a-z][a-z0-9.-]{1,30}")
#: What a machine needs besides the smallest Debian: an init, SSH, DHCP by ifupdown, names.
PACKAGES = ("systemd-sysv", "openssh-server", "ifupdown", "isc-dhcp-client", "iproute2", "iputils-ping", "dbus")


def offered(config: HostConfig) -> list[dict[str, Any]]:
    """The archives in the imports folder, by name, with their size in bytes. Raises OSError."""
    folder = Path(config.imports)
    if not folder.is_dir():
        return []
    there = sorted(p for p in folder.iterdir() if p.name.endswith(SUFFIXES) and not p.name.startswith("."))
    facts = [(p.name, p.lstat()) for p in there]
    return [{"name": name, "size": f.st_size} for name, f in facts if stat.S_ISREG(f.st_mode)][:200]


def take(config: HostConfig, file: str, archive: str) -> str:
    """Move `file` of the imports folder into the images folder as `archive`. Raises Refused, OSError."""
    source, target = _inside(config.imports, file), _inside(config.images, archive)
    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_name(f".{archive}.taking")
    half.unlink(missing_ok=True)
    with _regular(source) as given, open(half, "xb") as out:
        shutil.copyfileobj(given, out, 1 << 20)
        size = out.tell()
    _keep(half, target)
    source.unlink(missing_ok=True)
    return f"{target}: {size} bytes"


def _regular(path: Path) -> BinaryIO:
    """The file itself, opened once: what is looked at is what is read, whoever may write to its folder. Raises
    Refused for what is missing or no regular file, OSError."""
    not_regular = Refused(f"{path} is not a regular file.", note="Nothing was changed. Put the archive itself there.")
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Refused(f"{path} is missing.", note="Put it there again, or choose another file.") from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link, a socket
            raise not_regular from error
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise not_regular
    return os.fdopen(fd, "rb")


def build(config: HostConfig, suite: str, archive: str) -> str:
    """Have mmdebstrap build Debian's `suite` from this host's own package sources. Raises Refused, OSError."""
    if not _SUITE.fullmatch(suite):
        raise Refused(f"“{suite[:40]}” can't be a suite of Debian.", note="Use one such as bookworm or trixie.")
    target = _inside(config.images, archive)
    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_name(f".building-{archive}")
    half.unlink(missing_ok=True)
    argv = ("mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", suite, str(half), mirror())
    try:
        said = runner.run(argv, timeout_s=BUILD_S, aloud=True).stderr
    except CommandFailed as error:
        half.unlink(missing_ok=True)
        raise Refused(
            f"{suite} can't be built: {error}", note="Nothing was changed. See that the host's apt sources have it."
        ) from error
    _keep(half, target)
    return said


def mirror() -> str:
    """The first of the host's own package sources that is a whole distribution's. Raises Refused without one."""
    for source in map(Path, SOURCES):
        for file in sorted(source.iterdir()) if source.is_dir() else (source,):
            found = _MIRROR.search(files.read_text(str(file)) or "") if file.suffix in (".list", ".sources") else None
            if found:
                return found[1]
    raise Refused("This host has no package source of Debian's.", note=f"Name one in {SOURCES[0]}.")


def make(config: HostConfig, archive: str, *, devices: bool = False) -> str:
    """Find the archive's digest, make its golden filesystem, note what it is. Raises Refused, OSError."""
    path = _inside(config.images, archive)
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise Refused(f"{path} is missing.", note="Take the archive again.") from None
    made = golden.make(config, archive, digest, devices=devices)
    facts = golden.facts(config, digest)
    files.write_atomic(note(config, archive), json.dumps({**facts, "digest": digest, "root_bytes": made.size_bytes}))
    lines = [f"SHA-256 {digest}", f"{facts.get('entries', '?')} entries, a root of {-(-made.size_bytes >> 20)} MB"]
    if facts.get("left_out"):
        lines.append(f"Attributes left out: {', '.join(f'{k} {n}' for k, n in sorted(facts['left_out'].items()))}")
    return "\n".join((*lines, f"Family: {facts.get('family', 'other')} {facts.get('distribution', '')}".rstrip()))


def note(config: HostConfig, archive: str) -> str:
    """The file that says what the archive turned out to be."""
    return f"{config.images}/.{archive}.made"


def noted(config: HostConfig, archive: str) -> dict[str, Any]:
    """What it says; nothing where it is not there."""
    text = files.read_text(note(config, archive))
    return dict(json.loads(text)) if text else {}


def _inside(folder: str, name: str) -> Path:
    if not name or "/" in name or name.startswith(".") or not name.isprintable():
        raise Refused(f"“{name[:80]}” can't be an archive's name.", note=f"Use a file's name in {folder}.")
    return Path(folder) / name


def _keep(half: Path, target: Path) -> None:
    """Its own file, on the disk, under its own name."""
    fd = os.open(half, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with contextlib.closing(os.fdopen(fd, "rb")):
        os.fchown(fd, 0, 0)
        os.fchmod(fd, 0o644)
        os.fsync(fd)
    half.rename(target)
    files.sync_folder(target.parent)


def kernel_note(config: HostConfig, name: str) -> str:
    """The file that says of which archive the kernel `name` was taken."""
    return f"{config.kernels}/.{name}.from"


def _take(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    return take(config, args["file"], args["archive"])


def _upload(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    return uploads.take(config, args["file"], int(args["size"]), _inside(config.images, args["archive"]))


def _build(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    return build(config, args["suite"], args["archive"])


def _make(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    return make(config, args["archive"], devices=args.get("devices") == "yes")


def _kernel(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    where = {key: args[key] for key in ("archive", "digest", "kernel", "name")}
    found = kernels.extract(config, **where, pv=args.get("pv") == "yes")
    files.write_atomic(kernel_note(config, found.name), args["digest"])
    return f"{found.name}: {found.size_bytes} bytes, {found.initrd or 'without an initrd'}"


VERBS = {
    "image-take": _take,
    "image-upload": _upload,
    "image-build": _build,
    "image-make": _make,
    "kernel-extract": _kernel,
}
