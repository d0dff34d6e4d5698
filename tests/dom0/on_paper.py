"""Trials on paper: revisions that are files alone, and a guard that only takes note."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from dom0 import files, trial
from dom0.host import HostConfig

ONE, TWO = "1-aaaaaaaaaaaa", "2-bbbbbbbbbbbb"
TOKEN = f"{TWO}-j7"


def arm(config: HostConfig, token: str = TOKEN, revision: str = TWO, seconds: int = 60) -> trial.Pending:
    """As with a guard beside it, that looks for as long as it takes."""
    over = threading.Event()

    def note() -> None:
        while not over.wait(0.01):
            if (standing := trial.pending(config)) is not None:
                trial.take_note(config, standing)
                return

    seen = threading.Thread(target=note)
    seen.start()
    try:
        return trial.arm(config, token=token, revision=revision, seconds=seconds)
    finally:
        over.set()
        seen.join()


def expire(config: HostConfig) -> None:
    path = f"{config.state}/firewall/pending"
    files.write_atomic(path, json.dumps({**json.loads(Path(path).read_text()), "deadline": trial.boot_time()}))


def quiet(_: str) -> None:
    pass
