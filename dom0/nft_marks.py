"""What tells one state of a chain's rules from another without printing them: what the kernel itself says of each,
but for its counters, which go on counting. That costs a tenth of having iptables print it.

Numbers of rules alone would not do: who replaces a rule keeps its number. Sets' elements are no part of it.
"""

from __future__ import annotations

import hashlib
import re
import socket
import struct
from collections.abc import Mapping

from dom0 import generation
from dom0.generation import ATTRIBUTE, HEAD, Marks

FAMILIES = {"v4": 2, "v6": 10, "bridge": 7}  # the kernel's NFPROTO_…
#: nf_tables: what is asked for.
TABLES, CHAINS, RULES, SETS = 1, 4, 7, 10
REQUEST_DUMP = 0x301
FLAGS = 2  # of a table
DONE, ERROR, INTERRUPTED = 3, 2, 0x10
#: Attributes by what is asked for. The first names the table, the second the chain (0: none); the others count: of a
#: table flags and number, of a set name, flags, key, number, of a chain number, hook and policy. Of a rule all counts.
COUNT: Mapping[int, tuple[int, int, frozenset[int]]] = {
    TABLES: (1, 0, frozenset((2, 4))),
    SETS: (1, 0, frozenset((2, 3, 4, 5, 16))),
    CHAINS: (1, 3, frozenset((2, 4, 5))),
    RULES: (1, 2, frozenset()),
}
#: A rule's counter: its name, and in what follows two numbers of 8 bytes.
_COUNTER = re.compile(
    rb"(\x0c\x00\x01\x00counter\x00\x1c\x00\x02[\x00\x80]\x0c\x00\x01\x00).{8}(\x0c\x00\x02\x00).{8}", re.DOTALL
)
_NO_COUNT = rb"\1" + bytes(8) + rb"\2" + bytes(8)

Found = dict[tuple[bytes, bytes], list[bytes]]


def of(family: str) -> Marks | None:
    """The mark of every table and chain of "v4", "v6" or "bridge"; None where the kernel does not tell.

    Whoever keeps a text by them has to look that nothing was loaded meanwhile (`dom0.generation`).
    """
    found: Found = {}
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, generation.NETLINK_NETFILTER) as link:
            link.settimeout(5)
            for kind in COUNT:
                _ask(link, kind, FAMILIES[family], found)
    except (OSError, struct.error):
        return None
    return {
        (table.decode(), chain.decode()): hashlib.sha256(b"".join(words)).hexdigest()
        for (table, chain), words in found.items()
    }


def asleep(family: str) -> tuple[str, ...]:
    """Tables of "v4", "v6" or "bridge" that somebody switched off (`flags dormant`): they print as ever and do nothing.

    None are told where the kernel does not.
    """
    found: Found = {}
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, generation.NETLINK_NETFILTER) as link:
            link.settimeout(5)
            _ask(link, TABLES, FAMILIES[family], found)
    except (OSError, struct.error):
        return ()
    return tuple(sorted(table.decode() for (table, _), words in found.items() if any(map(_dormant, words))))


def _dormant(word: bytes) -> bool:
    return ATTRIBUTE.unpack_from(word)[1] & 0x3FFF == FLAGS and bool(word[7] & 1)


def _ask(link: socket.socket, kind: int, family: int, found: Found) -> None:
    """Note all of one kind. Raises OSError where the answer can't be relied on."""
    body = generation.FAMILY.pack(family, 0, 0)
    link.send(HEAD.pack(HEAD.size + len(body), 10 << 8 | kind, REQUEST_DUMP, kind, 0) + body)
    while True:
        raw, _, cut, _ = link.recvmsg(1 << 16)
        answer = _COUNTER.sub(_NO_COUNT, raw) if kind == RULES else raw
        at = 0
        while at + HEAD.size <= len(answer):
            length, said, flags, _, _ = HEAD.unpack_from(answer, at)
            if said == ERROR or flags & INTERRUPTED or cut & socket.MSG_TRUNC or length < HEAD.size:
                raise OSError("the rules changed while they were read, or can't be")
            if said == DONE:
                return
            _note(answer, at + HEAD.size + generation.FAMILY.size, at + length, kind, found)
            at += length + 3 & ~3


def _note(answer: bytes, at: int, end: int, kind: int, found: Found) -> None:
    of_table, of_chain, count = COUNT[kind]
    table = chain = b""
    words: list[bytes] = []
    while at + ATTRIBUTE.size <= end:
        length, attribute = ATTRIBUTE.unpack_from(answer, at)
        if attribute == of_table:
            table = answer[at + ATTRIBUTE.size : at + length - 1]
        elif attribute == of_chain:
            chain = answer[at + ATTRIBUTE.size : at + length - 1]
        elif kind == RULES:  # whose table and chain stand in front
            words.append(answer[at:end])
            break
        elif attribute & 0x3FFF in count:
            words.append(answer[at : at + length])
        at += max(ATTRIBUTE.size, length + 3 & ~3)
    found.setdefault((table, chain), []).extend(words)
