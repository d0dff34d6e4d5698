# ruff: noqa: E402 - once Django is set up
"""`fridu` again and again inside a host of the lab: each line of stdin is one, done by a fork of this.

A line is JSON: {"words": […]} for the command line, {"code": "…"} for Python. The answer: [exit status, what it said].
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import tempfile
import traceback

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fridu_site.settings")

import django

django.setup()

from fridu_site.cli.main import main


def done(wish: dict[str, object]) -> int:
    """Carry it out; the status it would have ended with."""
    try:
        if "words" in wish:
            return main(list(map(str, wish["words"])))  # type: ignore[call-overload]
        exec(str(wish["code"]), {})
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def apart(wish: dict[str, object]) -> tuple[int, str]:
    """The same in a fork."""
    with tempfile.TemporaryFile() as file:
        child = os.fork()
        if child == 0:
            for stream in (1, 2):
                os.dup2(file.fileno(), stream)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            with contextlib.redirect_stdout(io.TextIOWrapper(os.fdopen(1, "wb", closefd=False), write_through=True)):
                status = done(wish)
            sys.stderr.flush()
            os._exit(status)
        _, ended = os.waitpid(child, 0)
        file.seek(0)
        return os.waitstatus_to_exitcode(ended), file.read().decode(errors="replace")


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps(apart(json.loads(line))) + "\n")
        sys.stdout.flush()
