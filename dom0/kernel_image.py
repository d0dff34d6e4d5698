"""What a file that is said to be a Linux kernel for x86-64 is, by its own headers. Pure: bytes in, facts out."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dom0.errors import Refused

MIB = 1 << 20
BOOT_FLAG, HEADER, OLDEST = 0x1FE, 0x202, 0x20C  # "HdrS" stands at HEADER; 2.12 is Linux 3.8
SETUP_SECTS, PAYLOAD, INIT_SIZE = 0x1F1, 0x248, 0x260
HEAD = 4096  # bytes that `bzimage` needs
LARGEST = 512 * MIB  # of a kernel, unpacked
#: How the kernel in a bzImage is packed, by its first bytes: the program, and how many bytes behind are no part of it.
PACKED = {
    b"\x1f\x8b": (("gzip", "-dcq"), 0),
    b"\xfd7zXZ\x00": (("xz", "-dcq", "--memlimit-decompress=256MiB"), 4),
    b"\x28\xb5\x2f\xfd": (("zstd", "-dcq", "--memory=256MB"), 4),
    b"BZh": (("bzip2", "-dcq"), 4),
    b"\x02!L\x18": (("lz4", "-dcq"), 4),
    b"]\x00\x00": (("xz", "-dcq", "--format=lzma", "--memlimit-decompress=256MiB"), 4),
}
NOTES = 64 << 10  # bytes of a segment's notes that are read; Linux has some hundred
XEN_ENTRY, XEN_PVH_ENTRY = 1, 18  # of the notes whose name is "Xen"
SPARE_MIB = 16  # what Xen's builder and the kernel take at once, besides the kernel and the initrd
ELF_HEAD, _SEGMENT = 64, struct.Struct("<IIQQQQQQ")
_PT_LOAD, _PT_NOTE = 1, 4
_WAY_OUT = "Nothing was changed. Choose another one, for example Debian's vmlinuz-…-amd64."


#: Reads a part of a file: from which byte, how many; fewer where it ends. A vmlinux is never read whole.
Part = Callable[[int, int], bytes]


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """A kernel: `kind` bzImage or ELF; whether Xen can start it as a PV or a PVH guest; bytes it takes in memory."""

    kind: str
    pv: bool
    pvh: bool
    memory_bytes: int

    def needs_mib(self, initrd_bytes: int) -> int:
        """The least memory of a guest it starts in, with an initrd that large."""
        return -(-(self.memory_bytes + initrd_bytes) // MIB) + SPARE_MIB


@dataclass(frozen=True, kw_only=True)
class Payload:
    """Where in a bzImage its kernel lies packed, in bytes, and the program that unpacks it."""

    start: int
    length: int
    unpack: tuple[str, ...]


def kind_of(head: bytes, name: str) -> str:
    """ "bzImage" or "ELF". Raises Refused for what is neither."""
    if head.startswith(b"\x7fELF"):
        return "ELF"
    if head[BOOT_FLAG : BOOT_FLAG + 2] == b"\x55\xaa" and head[HEADER : HEADER + 4] == b"HdrS":
        return "bzImage"
    raise Refused(f"{name} is not a kernel: it is neither a bzImage nor an ELF file.", note=_WAY_OUT)


def bzimage(head: bytes, size: int, name: str) -> tuple[int, int]:
    """Where the packed kernel of a bzImage of `size` bytes lies: start, length. Raises Refused."""
    (version,) = struct.unpack_from("<H", head, HEADER + 4)
    if version < OLDEST:
        raise Refused(f"{name} is a kernel older than Linux 3.8; Fridu starts none.", note=_WAY_OUT)
    sectors = head[SETUP_SECTS] or 4
    offset, length = struct.unpack_from("<II", head, PAYLOAD)
    start = (sectors + 1) * 512 + offset
    if not 8 < length <= size - start:
        raise Refused(f"{name} is a damaged kernel: it ends before its own header says.", note=_WAY_OUT)
    return start, length


def payload(start: int, length: int, first: bytes, name: str) -> Payload:
    """How to unpack what lies there, `first` being its first bytes. Raises Refused."""
    for magic, (argv, behind) in PACKED.items():
        if first.startswith(magic):
            return Payload(start=start, length=length - behind, unpack=argv)
    raise Refused(f"{name} is a kernel packed in a way Fridu can't read.", note=_WAY_OUT)


def elf(part: Part, kind: str, name: str) -> Kernel:
    """The kernel whose ELF file, a vmlinux, `part` reads. Raises Refused for another machine's, or a damaged one."""
    try:
        return _elf(part, kind, name)
    except (struct.error, ValueError, OverflowError) as error:
        raise Refused(f"{name} is a damaged kernel: {error}.", note=_WAY_OUT) from error


def _elf(part: Part, kind: str, name: str) -> Kernel:
    head = part(0, ELF_HEAD)
    if not head.startswith(b"\x7fELF\x02\x01") or struct.unpack_from("<H", head, 18)[0] != 62:
        raise Refused(f"{name} is not a kernel for x86-64.", note=_WAY_OUT)
    types = [*_notes(part)]
    spans = [(at, at + long) for at, _, long in _segments(part, _PT_LOAD) if long]
    if not spans:
        raise ValueError("nothing of it is to be loaded")
    takes = max(end for _, end in spans) - min(start for start, _ in spans)
    return Kernel(kind=kind, pv=XEN_ENTRY in types, pvh=XEN_PVH_ENTRY in types, memory_bytes=takes)


def _segments(part: Part, wanted: int) -> Iterator[tuple[int, bytes, int]]:
    """The segments of that type: physical address, bytes in the file, bytes in memory."""
    head = part(0, ELF_HEAD)
    (table,) = struct.unpack_from("<Q", head, 32)
    each, count = struct.unpack_from("<HH", head, 54)
    for number in range(min(count, 64)):
        entry = part(table + number * each, _SEGMENT.size)
        kind, _, offset, _, at, in_file, in_memory, _ = _SEGMENT.unpack_from(entry)
        if kind == wanted:
            yield at, part(offset, min(in_file, NOTES)) if wanted == _PT_NOTE else b"", in_memory


def _notes(part: Part) -> Iterator[int]:
    """The types of the notes whose name is Xen."""
    for _, notes, _ in _segments(part, _PT_NOTE):
        place = 0
        while place + 12 <= len(notes):
            long, described, kind = struct.unpack_from("<III", notes, place)
            name = notes[place + 12 : place + 12 + long]
            if name == b"Xen\0":
                yield kind
            place += 12 + (long + 3) // 4 * 4 + (described + 3) // 4 * 4


def refuse_unfit(kernel: Kernel, name: str, *, initrd_bytes: int, memory_mib: int, pv: bool) -> None:
    """Raises Refused where a guest of that memory can't start it; `pv`: as a Xen PV guest."""
    if pv and not kernel.pv:
        raise Refused(
            f"{name} has no Xen entry, so no PV guest can start it.",
            note="Nothing was changed. Choose one built with CONFIG_XEN_PV, as Debian's amd64 kernels are.",
        )
    needs = kernel.needs_mib(initrd_bytes)
    if memory_mib < needs:
        raise Refused(
            f"{name} does not fit into {memory_mib} MB: with its initrd it takes {needs} MB just to start, "
            "and building the machine would fail.",
            note=f"Nothing was changed. Give the machine {needs} MB or more, or choose a smaller kernel.",
        )
