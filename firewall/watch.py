"""The watcher's part of the firewall: books what the host decided by itself, and finds what somebody changed there.

The guard needs no panel; whatever it did while panel, broker and database were down is booked at the next look.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from functools import partial
from typing import Any

from django.db import transaction
from django.utils import timezone

from dom0 import files as dom0_files
from dom0 import host as host_file
from dom0 import probe, trial
from dom0.errors import FriduError, Refused
from dom0.host import HostConfig
from dom0.policy_files import LOADERS, SETTINGS
from dom0.probe import Scope
from dom0.state import State
from firewall import booking, drift, render
from firewall.models import Watched
from firewall.plan import SITE, revision_folder
from firewall.specs import Site, from_dict
from hosts.models import Host

#: Reading the live rules costs three processes; nobody changes them by hand every second.
EVERY_S = 10.0
_looked: dict[int, float] = {}


def observe(host: Host, state: State) -> None:
    """Book what the host says; every ten seconds, after the round's transaction, compare the live rules too."""
    try:
        config = host_file.load()
    except Refused:
        return  # not a dom0
    booking.book(host, trial.read(config))
    if time.monotonic() - _looked.get(host.pk, -EVERY_S) >= EVERY_S:
        _looked[host.pk] = time.monotonic()
        transaction.on_commit(partial(look_for_drift, host, config))


def look_for_drift(host: Host, config: HostConfig) -> None:
    """Compare the live rules with the revision in force; while one is on trial, or changes, nothing is drift."""
    before = trial.read(config)
    if before.pending or before.returning:
        return
    try:
        found = lines(config, before.confirmed)
    except (FriduError, OSError, ValueError, KeyError, TypeError):
        return  # a revision that is not whole, a host that can't be asked: the next look tells
    after = trial.read(config)
    if (after.confirmed, after.pending, after.returning) == (before.confirmed, None, False) and found is not None:
        _book(host, found)


def lines(config: HostConfig, confirmed: str) -> tuple[drift.Line, ...] | None:
    """The differences to revision `confirmed`; None where its files are not on the host or nothing was ever loaded."""
    folder = revision_folder(f"{config.state}/firewall", confirmed)
    names = (*(name for name, _ in LOADERS), SETTINGS, SITE)
    texts = {name: dom0_files.read_text(f"{folder}/{name}") or "" for name in names}
    if not texts[render.V4]:
        return None
    families, sysctls = drift.scope_of(texts)
    return drift.differences(texts, _site(texts[SITE]), probe.probe(config, Scope(rules=families, sysctls=sysctls)))


def _site(text: str) -> Site:
    try:
        return from_dict(json.loads(text))
    except (ValueError, KeyError, TypeError):
        return Site()


def _book(host: Host, found: tuple[drift.Line, ...]) -> None:
    watched = Watched.objects.filter(host=host).first()
    if watched is None:
        return
    plain: list[dict[str, Any]] = [asdict(line) for line in found]
    if plain != watched.drift:
        since = (watched.drift_since or timezone.now()) if plain else None
        Watched.objects.filter(pk=watched.pk).update(drift=plain, drift_since=since)
