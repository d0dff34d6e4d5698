"""What of the firewall needs a person: a revision on trial, one that was taken back, a host that differs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from django.http import HttpRequest
from django.urls import reverse
from django.utils.text import capfirst

from accounts.access import may_somewhere
from accounts.models import User
from firewall import trials
from firewall.models import Revision
from hosts.models import Host, Job
from ui import words
from ui.registry import Attention


def attention(request: HttpRequest) -> Iterator[Attention]:
    """For those who may apply the firewall (4 queries a host)."""
    if not may_somewhere(cast(User, request.user), "firewall.apply"):
        return
    for host in Host.objects.all():
        yield from _trial(host)
        yield from _taken_back(host)
        yield from _drift(host)
        yield from _closed(host)


def _there(name: str, host: Host) -> str:
    return f"{reverse(f'firewall:{name}')}?host={host.name}"


def _trial(host: Host) -> Iterator[Attention]:
    trial = trials.on_trial(host)
    if trial is None:
        return
    number = trial.revision.number
    text = f"{words.left(trial.seconds_left)} left to keep it; then {host.name} returns to the one before."
    if not trial.ready:
        text = f"Its time is up: {host.name} returns to the one before."
    yield Attention(
        state="wait", title=f"Revision {number} is on trial", text=text, url=_there("trial", host), button="Decide"
    )


def taken_back(host: Host) -> Revision | None:
    """The last revision, if the host took it back by itself and nothing was put in force since.

    Who returned from it knows; that its changes wait is said anyway.
    """
    revisions = Revision.objects.filter(host=host).defer("site", "files")
    last = revisions.order_by("-number").first()
    if last is None or last.state != Revision.State.RETURNED:
        return None
    asked = Job.objects.filter(kind=trials.RETURN, host=host, args__revision=last.pk, state=Job.State.DONE)
    return None if revisions.filter(live_at__gt=last.created).exists() or asked.exists() else last


def _taken_back(host: Host) -> Iterator[Attention]:
    last = taken_back(host)
    if last is None:
        return
    first = (
        f" {capfirst(str(last.words[0]))}{f'; and {len(last.words) - 1} more' if len(last.words) > 1 else ''}."
        if last.words
        else ""
    )
    yield Attention(
        state="bad",
        title=f"Revision {last.number} was taken back",
        text=f"Nobody kept it within {words.took(last.seconds)}.{first} The wishes are kept, not applied.",
        url=_there("changes", host),
        button="Show the wishes",
    )


def _drift(host: Host) -> Iterator[Attention]:
    drift = trials.drift(host)
    if drift is None:
        return
    more = f", and {len(drift.lines) - 1} more" if len(drift.lines) > 1 else ""
    yield Attention(
        state="bad",
        title=f"{host.name}'s live rules differ in {words.count(len(drift.lines), 'place')}",
        text=f"{capfirst(drift.lines[0].words)}{more}.",
        url=_there("drift", host),
        button="Restore or adopt",
    )


def _closed(host: Host) -> Iterator[Attention]:
    """Closed on purpose, or for want of a revision that loads; a host never applied to is no trouble yet."""
    if trials.closed(host) and Revision.objects.filter(host=host, live_at__isnull=False).exists():
        yield Attention(
            state="bad",
            title=f"{host.name} is closed but for SSH",
            text="Nothing is published and no machine reaches anything until a revision is applied.",
            url=_there("changes", host),
            button="Apply",
        )
