"""One file out of a tar stream: `python -m dom0.pick PATH LARGEST < TAR > FILE`. It needs no privileges and has none.

Nothing is followed: the entry of that very name must be a regular file of at most LARGEST bytes. Of several the last
counts, as when unpacking, so the stream is read to its end.
"""

from __future__ import annotations

import os
import sys
import tarfile
from typing import BinaryIO

PIECE = 1 << 20
DAMAGED = (tarfile.TarError, EOFError, ValueError, RecursionError, MemoryError, OverflowError)


def pick(stream: BinaryIO, path: str, largest: int, out: int) -> bool:
    """Write the file called `path` to the descriptor `out`; whether there is one. Raises ValueError for no file."""
    wanted, found = _plain(path), False
    with tarfile.open(fileobj=stream, mode="r|", bufsize=PIECE) as tar:
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # or it keeps every entry
            if _plain(member.name) != wanted:
                continue
            source = tar.extractfile(member) if member.isreg() and 0 <= member.size <= largest else None
            if source is None:
                raise ValueError(f"{path} is no regular file of at most {largest >> 20} MB")
            os.ftruncate(out, 0)
            os.lseek(out, 0, os.SEEK_SET)
            while piece := source.read(PIECE):
                while piece:
                    piece = piece[os.write(out, piece) :]
            found = True
    return found


def _plain(path: str) -> str:
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def main() -> None:
    try:
        found = pick(sys.stdin.buffer, sys.argv[1], int(sys.argv[2]), sys.stdout.fileno())
    except DAMAGED as error:
        sys.exit(f"{error or type(error).__name__}")
    if not found:
        sys.exit(f"there is no {sys.argv[1]} in it")


if __name__ == "__main__":
    main()
