"""A private PostgreSQL for the tests: own user, own unix socket, no TCP, in var/test-pg (or below /tmp).

`python -m tests.pg start` prints the value for FRIDU_DATABASE_URL; `python -m tests.pg stop` ends it, by its pid.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path


def _place() -> Path:
    """In the checkout where PostgreSQL's user can get in and the socket's name stays below 108 bytes, else /tmp."""
    checkout = Path(__file__).resolve().parent.parent
    place = checkout / "var" / "test-pg"
    open_way = os.geteuid() != 0 or all(p.stat().st_mode & 0o001 for p in checkout.parents)
    if open_way and len(os.fsencode(place)) < 80:
        return place
    return Path("/tmp") / f"fridu-test-pg-{os.getuid()}-{hashlib.sha256(os.fsencode(checkout)).hexdigest()[:12]}"


PLACE = _place()
DATA, SOCKETS = PLACE / "data", PLACE / "run"
# Nothing here has to survive a power cut; without these the suite takes twice as long.
FAST = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "max_wal_size=256MB", "shared_buffers=64MB")


def start() -> str:
    """Start it where it does not run yet; returns the database's URL. Raises CalledProcessError with its own words."""
    PLACE.mkdir(parents=True, exist_ok=True)
    if not (DATA / "PG_VERSION").exists():
        shutil.rmtree(DATA, ignore_errors=True)
        for folder in (DATA, SOCKETS):
            folder.mkdir(mode=0o700, exist_ok=True)
            if os.geteuid() == 0:
                os.chown(folder, _user().pw_uid, _user().pw_gid)
        _as_user("initdb", "-D", DATA, "-U", "fridu", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
    if not running():
        settings = [*FAST, "listen_addresses=", f"unix_socket_directories={SOCKETS}", "unix_socket_permissions=0777"]
        options = " ".join(f"-c {setting}" for setting in settings)
        _as_user("pg_ctl", "start", "-w", "-t", "30", "-D", DATA, "-l", DATA / "log", "-o", options)
    return f"postgres://fridu@/{SOCKETS}/postgres"


def stop() -> None:
    """End it; nothing to do where it does not run."""
    if running():
        _as_user("pg_ctl", "stop", "-m", "fast", "-w", "-D", DATA)


def running() -> bool:
    return (DATA / "postmaster.pid").exists() and _as_user("pg_ctl", "status", "-D", DATA, check=False) == 0


def _as_user(program: str, *argv: str | Path, check: bool = True) -> int:
    """Run one of PostgreSQL's programs, which refuse to run as root, as an ordinary user."""
    as_whom = {"user": _user().pw_uid, "group": _user().pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    done = subprocess.run(
        (_program(program), *map(str, argv)),
        check=False,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if program != "pg_ctl" else subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        timeout=120,
        **as_whom,
    )
    if check and done.returncode:
        log = DATA / "log"
        said = (done.stdout or b"").decode() + (log.read_text()[-2000:] if log.exists() else "")
        raise RuntimeError(f"{program} ended with code {done.returncode}: {said}")
    return done.returncode


def _program(name: str) -> str:
    """The newest installed version's program; Debian keeps them out of the PATH."""
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda p: float(p.parts[-3]))
    found = str(places[-1]) if places else shutil.which(name)
    if not found:
        raise RuntimeError("PostgreSQL is not installed: apt-get install postgresql")
    return found


def _user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("there is neither a user postgres nor nobody")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["start"]:
            print(start())
        case ["stop"]:
            stop()
        case _:
            sys.exit("usage: python -m tests.pg start|stop")
