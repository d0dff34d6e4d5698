"""What the panel and dom0's console process say to each other by way of Redis: names and bounds. Pure.

The panel asks on one stream a host (open, keys, take, keep, leave); an entry is deleted once it is read. What a machine
prints goes to a stream a *run*: one time that its console is open. Nothing here outlives its use: every key expires by
itself when whoever keeps it is gone, for keystrokes are passwords.
"""

from __future__ import annotations

ASKED_ENTRIES = 512  # not yet read; with KEYS_BYTES each, 2 MiB a host
ASKED_LIVES_S = 10
KEYS_BYTES = 4096  # in one entry
SHOWN_BYTES = 128 << 10  # what a viewer who comes, or comes back, still gets to see
SHOWN_ENTRIES = 2048
SHOWN_LIVES_S = 8  # after the process last said that it is there
OVER_LIVES_S = 15  # after the end: time for its viewers to read it
ANSWER_S = 6  # for opening; libvirt asks its daemon
KEEP_S = 5  # a viewer says so often that it is still there
VIEWER_LIVES_S = 20
LINGER_S = 30  # without viewers: a broken line comes back

# Why there is no console, or no longer: the panel has a sentence for each.
OFF, GONE, FOREIGN, BUSY, LIBVIRT, FULL, LEFT, QUIT = (
    "off",
    "gone",
    "foreign",
    "busy",
    "libvirt",
    "full",
    "left",
    "quit",
)


def asked(host: str) -> str:
    """The stream on which the panel asks."""
    return f"dom0.{host}.console"


def answers(host: str, viewer: str) -> str:
    """The list on which the process answers one viewer's opening."""
    return f"dom0.{host}.console.to.{viewer}"


def shown(host: str, run: str) -> str:
    """The stream of what a machine prints in one run."""
    return f"dom0.{host}.console.run.{run}"


def redis_url(broker: str) -> str:
    """Celery's name of the broker as redis-py takes it: a unix socket has another scheme there.

    Raises ValueError for a broker that is no Redis.
    """
    if broker.startswith("redis+socket://"):
        return "unix://" + broker.removeprefix("redis+socket://").partition("?")[0]
    if broker.startswith(("redis://", "rediss://")):
        return broker
    raise ValueError(f"{broker.partition(':')[0]} is no Redis")
