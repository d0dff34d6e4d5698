"""A worker that restores the confirmed revision through the worker's own executor, and ends itself where it is told.

`python -m tests.host.restoring TOKEN REVISION FLOWS MOMENT BLOW`; FLOWS is the filter to forget. MOMENT is "" (none),
the name of a loading program, right before which it comes, or one of the places between; BLOW is KILL or STOP.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from dom0 import execute, files, flows, host, pointers, runner
from dom0.errors import FriduError
from dom0.state import State
from dom0.steps import Hand, Step

LOADERS = ("ipset", "nft", "ip6tables-restore", "iptables-restore", "sysctl")
#: After the pointer is there; between load and cut; after the cut; before the pointer goes.
PLACES = ("begun", "cut", "own", "end")
MOMENTS = (*LOADERS, *PLACES)


def main(token: str, revision: str, back: str, moment: str, blow: str) -> None:
    kind = signal.Signals[f"SIG{blow}"]

    def struck(at: str) -> None:
        if at == moment:
            os.kill(os.getpid(), kind)

    _before(runner, "run", lambda argv, **_: struck(argv[0]) if "-n" not in argv and "-t" not in argv else None)
    _before(flows, "forget", lambda _: struck("cut"))
    _before(flows, "forget_own", lambda: struck("own"))
    _before(files, "remove", lambda _: struck("end"))
    write = pointers.write

    def begun(*words: Any) -> None:
        write(*words)
        struck("begun")

    pointers.write = begun
    print("begins", flush=True)
    action = Hand(verb="firewall-restore", args=(("token", token), ("revision", revision)), stdin=back)
    try:
        execute.perform(Step(stage="apply", title="", action=action), host.load(), State(), {})
        print("restored", flush=True)
    except FriduError as error:
        print(f"ended: {error}", flush=True)


def _before(module: Any, name: str, look: Callable[..., None]) -> None:
    do = getattr(module, name)

    def looking(*words: Any, **named: Any) -> Any:
        look(*words, **named)
        return do(*words, **named)

    setattr(module, name, looking)


if __name__ == "__main__":
    main(*sys.argv[1:])
