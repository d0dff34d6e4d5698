"""The one place that starts processes.

argv tuples, stdin closed or fed, a clean environment, a timeout that ends the whole process group. A
process started here dies with its worker (`setpriv --pdeathsig`): killed half-way, nobody goes on writing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass

from dom0.errors import CommandFailed

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
KEEP = 200_000  # characters of output kept


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a process ended; output as text, at most KEEP characters of each stream."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str


def run(
    argv: tuple[str, ...],
    *,
    stdin: str = "",
    timeout_s: float = 60.0,
    ok_codes: tuple[int, ...] = (0,),
    env: dict[str, str] | None = None,
) -> Result:
    """Run `argv` to its end.

    Raises CommandFailed where the exit code is not in `ok_codes`, the program is missing, or time ran out.
    """
    environment = {"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": "/root", **(env or {})}
    try:
        process = subprocess.Popen(
            ("setpriv", "--pdeathsig", "KILL", "--", *argv),
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise CommandFailed(argv, 127, "", str(error)) from error
    try:
        out, err = process.communicate(stdin.encode() if stdin else None, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        raise CommandFailed(argv, None, _text(out), f"no end after {timeout_s:g} s") from None
    result = Result(argv=argv, code=process.returncode, stdout=_text(out), stderr=_text(err))
    if result.code not in ok_codes:
        raise CommandFailed(argv, result.code, result.stdout, result.stderr)
    return result


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")[-KEEP:]
