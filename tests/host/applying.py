"""A worker as the guard sees it: arms a trial and loads, step by step, through the worker's own executor.

`python -m tests.host.applying once TOKEN REVISION SECONDS` loads the revision and says that all is applied;
`again … OTHER` goes on loading one and the other in turn until a step is refused.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import cycle

from dom0 import chains, execute, host, loading, runner
from dom0.errors import CommandFailed, Refused
from dom0.host import HostConfig
from dom0.policy_files import LOADERS
from dom0.state import State
from dom0.steps import Action, Command, Hand, Step


def main(mode: str, token: str, revision: str, seconds: str, other: str = "") -> None:
    config = host.load()
    arm = (("token", token), ("revision", revision), ("seconds", seconds))
    try:
        _perform(config, Hand(verb="firewall-arm", args=arm))
        print("armed", flush=True)
        for name in cycle((revision, other)) if mode == "again" else (revision,):
            for action in _loads(config, name):
                _perform(config, action, token)
        _perform(config, Hand(verb="firewall-applied", args=(("token", token),)), token)
        print("applied", flush=True)
    except (Refused, CommandFailed) as error:
        print(f"ended: {error}", flush=True)


def _loads(config: HostConfig, name: str) -> Iterator[Action]:
    texts = loading.revision(config, name)
    for file, loader in LOADERS:
        if file.endswith(".rules"):
            save = runner.run((loader[0].replace("-restore", "-save"),)).stdout
            yield Command(argv=loader, stdin=chains.splice(texts[file], save))
        else:
            text = loading.bridge_instead(texts[file]) if file.endswith(".nft") else texts[file]
            yield Command(argv=(*loader, "/dev/stdin"), stdin=text)
    yield Command(argv=("sysctl", "-w", "net.ipv4.ip_forward=1"))


def _perform(config: HostConfig, action: Action, token: str = "") -> None:
    execute.perform(Step(stage="apply", title="", action=action, trial=token), config, State(), {})


if __name__ == "__main__":
    main(*sys.argv[1:])
