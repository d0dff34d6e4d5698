"""The watcher on dom0: one sweep of the host per round, never a look from inside a page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from django.db import transaction
from django.utils import timezone

from dom0 import image_files, kernels, probe
from dom0.host import HostConfig
from dom0.state import State
from hosts.models import Host
from hosts.sweep import sweep

Observer = Callable[[Host, State], None]
_observers: list[Observer] = []


def register_observer(observer: Observer) -> None:
    """Have `observer(host, state)` book what each round finds (domains, figures). Called at start-up."""
    _observers.append(observer)


def look(config: HostConfig) -> None:
    """One round: see every domain, book it, mend jobs. Observation never deletes a wish."""
    state = probe.overview(config)
    with transaction.atomic():
        host, _ = Host.objects.get_or_create(name=config.name)
        host.facts = config.facts()
        host.figures = {
            "free_bytes": state.free_bytes,
            "free_memory_mib": state.free_memory_mib,
            "imports": image_files.offered(config),
            "kernels": [asdict(kernel) for kernel in kernels.listed(config)],
        }
        host.seen_at = timezone.now()
        host.save()
        for observer in _observers:
            observer(host, state)
    sweep(config)
