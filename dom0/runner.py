"""The one place that starts processes.

argv tuples, stdin closed or fed, a clean environment, a timeout that ends the whole process group. A
process started here dies with its worker (`setpriv --pdeathsig`): killed half-way, nobody goes on writing.
But for one that holds a lock handed down to it: whoever wants that lock next waits for its end, or ends it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from dom0.errors import CommandFailed

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
KEEP = 200_000  # characters of output kept, so that no program can fill the memory or the database
ALL = 100_000_000  # for output of the kernel's own tables
TOLD = 2_000  # characters of a running process' output told to who listens, of each stream
TELL_S = 1.0
_handed: ContextVar[tuple[int, ...]] = ContextVar("handed", default=())
_listener: ContextVar[Callable[[str], None] | None] = ContextVar("listener", default=None)


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a process ended; output as text, the last `keep` characters of each stream."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str


@contextlib.contextmanager
def handing_down(fd: int) -> Iterator[None]:
    """Every process started inside holds `fd` open too: a kernel lock on it lasts until the last of them ended."""
    before = _handed.set((*_handed.get(), fd))
    try:
        yield
    finally:
        _handed.reset(before)


@contextlib.contextmanager
def heard_by(listener: Callable[[str], None]) -> Iterator[None]:
    """Inside, `listener` gets once a second the last characters that a process run aloud has written so far."""
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)


@contextlib.contextmanager
def own_network() -> Iterator[str]:
    """A fresh network namespace; yields its path for `nsenter --net=…`.

    It has no name and belongs to one process that waits for our end of a pipe: it goes with it, and with us
    however we end, so nothing has to be cleaned up and nobody else's can be met.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        holder = subprocess.Popen(
            ("unshare", "--net", "--", "cat"),
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=subprocess.DEVNULL,
            env={"PATH": PATH, "LC_ALL": "C.UTF-8"},
            start_new_session=True,
        )
        theirs.close()
        try:
            ours.settimeout(20)
            ours.sendall(b"there?")
            if not ours.recv(6):  # what cat says, it says from inside
                raise CommandFailed(("unshare", "--net"), holder.wait(), "", "no network namespace")
            yield f"/proc/{holder.pid}/ns/net"
        finally:
            holder.kill()
            holder.wait()


def run(
    argv: tuple[str, ...],
    *,
    stdin: str = "",
    timeout_s: float = 60.0,
    ok_codes: tuple[int, ...] = (0,),
    env: dict[str, str] | None = None,
    keep: int = KEEP,
    aloud: bool = False,
) -> Result:
    """Run `argv` to its end.

    `aloud`: what it writes is no secret, and may be told to who listens (`heard_by`) while it runs; but for what is
    fed by `stdin`: that may be one, and the program may repeat it.

    Raises CommandFailed where the exit code is not in `ok_codes`, the program is missing, or time ran out.
    """
    handed = _handed.get()
    tied = () if handed else ("setpriv", "--pdeathsig", "KILL", "--")  # it costs as much as a small load of rules
    environment = {"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": "/root", **(env or {})}
    try:
        process = subprocess.Popen(
            (*tied, *argv),
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
            pass_fds=handed,
        )
    except OSError as error:
        raise CommandFailed(argv, 127, "", str(error)) from error
    try:
        out, err = _ended(process, stdin, timeout_s, _listener.get() if aloud and not stdin else None)
    except subprocess.TimeoutExpired:
        out, err = _killed(process)
        raise CommandFailed(argv, None, _text(out, keep), f"no end after {timeout_s:g} s") from None
    result = Result(argv=argv, code=process.returncode, stdout=_text(out, keep), stderr=_text(err, keep))
    if result.code not in ok_codes:
        raise CommandFailed(argv, result.code, result.stdout, result.stderr)
    return result


def _ended(
    process: subprocess.Popen[bytes], stdin: str, timeout_s: float, listener: Callable[[str], None] | None
) -> tuple[bytes, bytes]:
    """Both streams at the end of the process. Raises TimeoutExpired where it has none in time."""
    if listener is None:
        return process.communicate(stdin.encode() if stdin else None, timeout=timeout_s)
    until = time.monotonic() + timeout_s
    while True:
        left = until - time.monotonic()
        try:
            return process.communicate(timeout=max(0.0, min(TELL_S, left)))
        except subprocess.TimeoutExpired as so_far:
            if left <= TELL_S:
                raise
            try:
                listener(_text(so_far.output or b"", TOLD) + _text(so_far.stderr or b"", TOLD))
            except BaseException:
                _killed(process)
                raise


def _killed(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.communicate()


def pipe(
    source: tuple[str, ...], sink: tuple[str, ...], *, path: str, start: int = 0, into: str = "", timeout_s: float
) -> Result:
    """Run `source < path | sink` to its end; what the sink said. Neither sees more of the file than its bytes.

    `start`: the byte of the file to begin at. `into`: a new file that gets the sink's output instead.

    Raises CommandFailed for the source that failed by itself, else for the sink; for both where time ran out; OSError
    where the file can't be read.
    """
    tied = ("setpriv", "--pdeathsig", "KILL", "--")
    environment = {"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": "/root"}
    with (
        open(path, "rb", buffering=0) as file,
        tempfile.TemporaryFile() as said,
        open(into, "xb") if into else contextlib.nullcontext(subprocess.PIPE) as out_to,
    ):
        file.seek(start)
        first = subprocess.Popen(
            (*tied, *source), stdin=file, stdout=subprocess.PIPE, stderr=said, env=environment, start_new_session=True
        )
        second = subprocess.Popen(
            (*tied, *sink),
            stdin=first.stdout,
            stdout=out_to,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        first.stdout.close()  # type: ignore[union-attr]  # or the source never learns that the sink has ended
        try:
            out, err = second.communicate(timeout=timeout_s)
            code = first.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise CommandFailed(sink, None, "", f"no end after {timeout_s:g} s") from None
        finally:
            for process in (first, second):
                process.kill()
                process.wait()
        said.seek(0)
        if code not in (0, -signal.SIGPIPE) and (second.returncode == 0 or code > 0):
            raise CommandFailed(source, code, "", _text(said.read(KEEP), KEEP))
    result = Result(argv=sink, code=second.returncode, stdout=_text(out or b"", KEEP), stderr=_text(err, KEEP))
    if result.code != 0:
        raise CommandFailed(sink, result.code, result.stdout, result.stderr)
    return result


def _text(raw: bytes, keep: int) -> str:
    return raw.decode("utf-8", "replace")[-keep:]
