"""The watcher on dom0: one sweep of the host per round, never a look from inside a page."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils import timezone

from dom0 import image_files, kernels, probe
from dom0.host import HostConfig
from dom0.state import State
from hosts.models import Host
from hosts.sweep import sweep

Observer = Callable[[Host, State], None]
Sweeper = Callable[[HostConfig], None]
_observers: list[Observer] = []
_rarely: list[Sweeper] = []
RARELY_S = 20.0
_rarely_at: list[float] = []


def register_observer(observer: Observer) -> None:
    """Have `observer(host, state)` book what each round finds (domains, figures). Called at start-up."""
    _observers.append(observer)


def register_rarely(sweeper: Sweeper) -> None:
    """Have `sweeper(config)` look at what needs no look in every round (definitions, volumes). Called at start-up."""
    _rarely.append(sweeper)


def _load(before: Mapping[str, Any], state: State) -> dict[str, Any]:
    """What the host itself does, with the share of its processors that was busy since the round before."""
    now = dict(state.load)
    passed = now.get("ticks", 0) - before.get("ticks", 0)
    if before.get("ticks") and passed > 0:
        now["busy"] = round((now["busy_ticks"] - before["busy_ticks"]) / passed, 3)
    return now


def look(config: HostConfig) -> None:
    """One round: see every domain, book it, mend jobs. Observation never deletes a wish."""
    state = probe.overview(config)
    with transaction.atomic():
        host, _ = Host.objects.get_or_create(name=config.name)
        host.facts = config.facts()
        host.figures |= {
            "load": _load(host.figures.get("load", {}), state),
            "free_bytes": state.free_bytes,
            "free_memory_mib": state.free_memory_mib,
            "places": {
                place.name: {"size_bytes": place.size_bytes, "free_bytes": place.free_bytes}
                for place in state.places.values()
            },
            "imports": image_files.offered(config),
            "uploads": Path(config.uploads).is_dir(),
            "kernels": [asdict(kernel) for kernel in kernels.listed(config)],
        }
        host.seen_at = timezone.now()
        host.save()
        for observer in _observers:
            observer(host, state)
    sweep(config)
    if not _rarely_at or time.monotonic() - _rarely_at[0] >= RARELY_S:
        _rarely_at[:] = [time.monotonic()]
        for sweeper in _rarely:
            sweeper(config)
