"""Where an archive that comes through the panel is written, piece by piece, until the host's worker takes it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any, BinaryIO

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, StopUpload

from hosts.models import Host

GIB = 1 << 30
HEAD = 262
KINDS = ".tar, .tar.gz, .tar.xz, .tar.zst or .tar.bz2"
#: The field after the archive. A request that broke off reads like a whole one with a shorter file, but lacks it.
LAST = "upload-whole"
_MAGIC = ((b"\x1f\x8b", "tar.gz"), (b"\xfd7zXZ\0", "tar.xz"), (b"\x28\xb5\x2f\xfd", "tar.zst"), (b"BZh", "tar.bz2"))


def ready(host: Host) -> bool:
    """Whether the panel can write into the spool and the host's worker sees one."""
    return bool(host.figures.get("uploads")) and os.access(settings.FRIDU_UPLOADS, os.W_OK | os.X_OK)


def most() -> int:
    """The most bytes a request with an archive may have."""
    return int(settings.FRIDU_UPLOAD_GIB) * GIB


def too_large() -> str:
    """What is said of an archive above that."""
    return f"An archive has at most {settings.FRIDU_UPLOAD_GIB} GB here. Put a larger one into the imports folder."


def kind_of(path: Path) -> str:
    """The archive's suffix by its first bytes; "" where it is none."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    if head[257:262] == b"ustar":
        return "tar"
    return next((suffix for magic, suffix in _MAGIC if head.startswith(magic)), "")


class Spool(FileUploadHandler):
    """Writes each file of a request into the spool; `discard` removes those that nobody `keep`s."""

    def __init__(self, request: Any = None) -> None:
        super().__init__(request)
        self.paths: list[Path] = []
        self.full = ""  # what the system said where a file could not be written
        self._out: BinaryIO | None = None

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        path = Path(settings.FRIDU_UPLOADS) / secrets.token_hex(16)
        self.paths.append(path)
        try:
            self._out = open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")  # noqa: SIM115
        except OSError as error:
            self._stop(error)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        assert self._out is not None  # noqa: S101
        try:
            self._out.write(raw_data)
        except OSError as error:
            self._stop(error)

    def file_complete(self, file_size: int) -> UploadedFile[Any] | None:
        assert self._out is not None  # noqa: S101
        try:
            self._out.close()
        except OSError as error:
            self.full = str(error.strerror)
        return UploadedFile(name=self.paths[-1].name, size=file_size)

    def _stop(self, error: OSError) -> None:
        self.full = str(error.strerror)
        raise StopUpload(connection_reset=False) from error

    def keep(self, name: str) -> None:
        """The worker has been told of it."""
        self.paths = [path for path in self.paths if path.name != name]

    def discard(self) -> None:
        """Remove what is left."""
        for path in self.paths:
            path.unlink(missing_ok=True)
