"""Applying: one revision of all wishes is tried on the host, and a person keeps it or it is taken back.

The host's guard decides by its own clock (`dom0.guard`); what is asked for here reaches it as jobs.
"""

from __future__ import annotations

import hashlib
import math
import secrets
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from django.db import transaction
from django.utils import timezone
from django.utils.text import capfirst

from accounts.doors import check
from accounts.models import User
from audit.log import Actor, Thing
from dom0.errors import Refused
from dom0.trial import LONGEST_S, SHORTEST_S
from firewall import own_rules, render, rows, services, words
from firewall.drift import Line, adoption
from firewall.models import CustomRule, Revision, Watched
from firewall.plan import CLOSED
from firewall.specs import as_dict
from hosts.models import Host, Job
from hosts.services import job_create

APPLY, CONFIRM, RETURN, STOP = "firewall.apply", "firewall.confirm", "firewall.return", "firewall.stop"
CONFIRM_WITHIN_S = 60
S = Revision.State


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A revision that is on trial on a host.

    `ready`: its rules are loaded and its time is not up, so that it may be kept. `nonce` belongs into the form
    that keeps it; it was made after the rules were loaded.
    """

    revision: Revision
    until: datetime
    nonce: str
    ready: bool

    @property
    def seconds_left(self) -> int:
        return max(0, math.ceil((self.until - timezone.now()).total_seconds()))

    @property
    def why(self) -> str:
        return self.revision.why

    @property
    def changes(self) -> list[str]:
        """What it opens, closes and moves, in words, against what the host would return to."""
        names = rows.machine_names(self.revision.host)
        found = words.difference(rows.site_in(self.former), rows.site_in(self.revision), names=names)
        return [change.sentence for change in found]

    @property
    def author(self) -> User:
        return self.revision.author

    @cached_property
    def former(self) -> Revision | None:
        """The revision the host returns to; None for closed but SSH."""
        return rows.live_revision(self.revision.host)


def on_trial(host: Host) -> Trial | None:
    """What is on trial on `host`, as last heard from it (1 query)."""
    revision = Revision.objects.filter(host=host, state=S.TRIAL).select_related("author", "host").first()
    if revision is None or revision.until is None:
        return None
    return Trial(revision=revision, until=revision.until, nonce=revision.nonce, ready=revision.until > timezone.now())


def revision_apply(
    actor: Actor,
    host: Host,
    *,
    why: str = "",
    approved: bool = False,
    seen: str = "",
    again: Revision | None = None,
    confirm_within: int = CONFIRM_WITHIN_S,
) -> Job:
    """Make one revision of all wishes and ask for the job that puts it on trial on the host.

    `seen` is the digest of the wish the person looked at: where it is another by now, Refused. `again` applies
    a former revision as it was, the wishes stay; the one in force is loaded where the host differs from it.
    `confirm_within` is how many seconds it stays without being kept (3 to 600). Raises Refused for a wish with
    blocking problems, and while another revision is on trial or another apply of this host is open.
    """
    person = check(actor, "firewall.apply")
    if not SHORTEST_S <= confirm_within <= LONGEST_S:
        raise Refused(
            f"{confirm_within} s is no time for a trial.",
            note=f"Take {SHORTEST_S} to {LONGEST_S}: {CONFIRM_WITHIN_S} is enough to look at a page.",
        )
    with transaction.atomic():
        Host.objects.select_for_update().get(pk=host.pk)
        _refuse_during_trial(host)
        revision = again or _revision(host, person, why, seen)
        return job_create(
            actor,
            APPLY,
            host=host,
            title=f"Apply firewall revision {revision.number}",
            target=_firewall(host),
            reason=why,
            args={"revision": revision.pk, "number": revision.number, "seconds": confirm_within},
            approved=approved,
        )


def revision_confirm(actor: Actor, revision: Revision, nonce: str, *, reason: str = "") -> Job:
    """Ask for the job that makes the revision on trial the one in force.

    Raises Refused where it is not on trial any more, or the form is older than the loaded rules.
    """
    check(actor, "firewall.confirm")
    with transaction.atomic():
        revision = Revision.objects.select_related("host").get(pk=revision.pk)
        _refuse_ended(revision)
        if not secrets.compare_digest(nonce.encode(), revision.nonce.encode()):
            raise Refused(
                "This form was made before the new rules were loaded, so it proves nothing about them.",
                note="Open the page of the trial anew and keep the revision there.",
            )
        return _ask(actor, CONFIRM, revision, f"Keep firewall revision {revision.number}", reason, nonce=nonce)


def revision_return(actor: Actor, revision: Revision, *, reason: str = "") -> Job:
    """Ask for the job that takes the revision on trial back at once. Raises Refused where it is not on trial."""
    check(actor, "firewall.return")
    with transaction.atomic():
        revision = Revision.objects.select_related("host").get(pk=revision.pk)
        _refuse_ended(revision)
        return _ask(actor, RETURN, revision, f"Return from firewall revision {revision.number}", reason)


def firewall_stop(actor: Actor, host: Host, why: str) -> Job:
    """Ask for the job that closes the host but for SSH, whatever else goes on; wishes and revisions stay."""
    check(actor, "firewall.stop")
    if not why.strip():
        raise Refused("Nothing says why the firewall shall be closed.", note="Say it in a few words, for the others.")
    with transaction.atomic():
        return job_create(
            actor,
            STOP,
            host=host,
            title=f"Close the firewall of {host.name} but for SSH",
            # A target of its own: an apply that hangs is no reason to wait.
            target=Thing(kind="firewall stop", id=str(host.pk), text=f"firewall of {host.name}"),
            reason=why,
        )


def wishes_try(actor: Actor, host: Host, *, reason: str = "") -> Job:
    """Ask for the wishes to be loaded in a scratch namespace on the host, as they are; nothing is changed.

    The job also ends refused where the host's iptables is the old one, or a card or address is missing on it.
    """
    check(actor, "firewall.try")
    with transaction.atomic():
        return job_create(
            actor,
            own_rules.KIND,
            host=host,
            title="Try the wishes in a scratch namespace",
            target=Thing(kind="own rules", id=str(host.pk), text=f"wishes of {host.name}"),
            reason=reason,
            args={"rules": []},
        )


def return_after_failure(actor: Actor, revision: Revision, job: Job) -> Job:
    """Ask for the former rules at once, where an apply stopped half-way: the guard would wait for its deadline."""
    title = f"Return from firewall revision {revision.number}"
    return _ask(actor, RETURN, revision, title, f"job {job.pk} stopped half-way")


def _ask(actor: Actor, kind: str, revision: Revision, title: str, reason: str, **args: str) -> Job:
    return job_create(
        actor,
        kind,
        host=revision.host,
        title=title,
        target=_firewall(revision.host),
        reason=reason,
        args={"revision": revision.pk, "number": revision.number, **args},
    )


def _firewall(host: Host) -> Thing:
    return Thing(kind="firewall", id=str(host.pk), text=f"firewall of {host.name}")


def _refuse_during_trial(host: Host) -> None:
    tried = on_trial(host)
    watched = Watched.objects.filter(host=host).first()
    if tried is None and not (watched and watched.pending):
        return
    number = tried.revision.number if tried else (watched.pending if watched else "").partition("-")[0]
    raise Refused(
        f"Revision {number} is on trial on {host.name}; until it is kept or taken back, no other is applied.",
        note=f"Keep revision {number} or return from it, then apply. Wishes can be edited meanwhile.",
    )


def _refuse_ended(revision: Revision) -> None:
    over = revision.until is None or revision.until <= timezone.now()
    if revision.state == S.TRIAL and not over:
        return
    number, live = revision.number, rows.live_revision(revision.host)
    now = f"revision {live.number} is live" if live else "the host is closed but for SSH"
    if revision.state == S.LIVE:
        raise Refused(f"Revision {number} is in force already.", note="To go back, apply a former revision again.")
    if revision.state in (S.RETURNED, S.TRIAL):
        raise Refused(f"Revision {number} was taken back: {now}.", note="The wishes are kept; apply them anew.")
    raise Refused(f"Revision {number} is not on trial; {now}.", note="Apply it first.")


def _revision(host: Host, person: User, why: str, seen: str) -> Revision:
    now = services.pending(host)
    if seen and seen != now.digest:
        raise Refused(
            "Somebody changed the firewall's wishes since you looked.", note="Look at the new difference, then apply."
        )
    stopping = [p for p in now.problems if p.blocks]
    if stopping:
        raise Refused(
            f"{capfirst(stopping[0].about)}: {stopping[0].sentence}", note="Nothing was applied. Mend it first."
        )
    files = render.files(now.wished).by_name
    same = now.live and not now.changes and services.digest_of(rows.site_in(now.live)) == now.digest
    if now.live and same and now.live.files == files:  # others: made by a release that rendered otherwise
        return now.live
    last = Revision.objects.filter(host=host).order_by("-number").first()
    return Revision.objects.create(
        host=host,
        number=(last.number if last else 0) + 1,
        site=as_dict(now.wished),
        files=files,
        digest=hashlib.sha256("\0".join(files.values()).encode()).hexdigest(),
        words=[c.sentence for c in now.changes],
        author=person,
        why=why,
    )


def closed(host: Host) -> bool:
    """Whether the host was last seen closed but for SSH."""
    watched = Watched.objects.filter(host=host).first()
    return watched is not None and watched.confirmed == CLOSED


# what differs on the host


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How the host differs from the revision in force, since when it is known, and which revision that is."""

    lines: tuple[Line, ...]
    since: datetime
    live: Revision | None

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(line.words for line in self.lines)

    @property
    def families(self) -> list[tuple[str, tuple[Line, ...]]]:
        """The lines by family, named for a heading."""
        found = {name: tuple(x for x in self.lines if x.family == family) for family, name in FAMILY_NAMES.items()}
        return [(name, lines) for name, lines in found.items() if lines]

    @property
    def raw(self) -> tuple[str, ...]:
        """The same as the rules say it: - gone, + come, under the chain it stands in."""
        out: list[str] = []
        for line in self.lines:
            head = f"@ {line.where or 'kernel settings'}"
            if not out or head not in out:
                out.append(head)
            out.append(line.raw)
        return tuple(out)


FAMILY_NAMES = {"v4": "IPv4", "v6": "IPv6", "bridge": "Bridges", "kernel": "Kernel settings"}


def drift(host: Host) -> Drift | None:
    """What the watcher last found to differ on `host`; None where nothing does."""
    watched = Watched.objects.filter(host=host).first()
    if watched is None or not watched.drift or watched.drift_since is None:
        return None
    lines = tuple(Line(**line) for line in watched.drift)
    return Drift(lines=lines, since=watched.drift_since, live=rows.live_revision(host))


def drift_restore(actor: Actor, host: Host, *, reason: str = "", approved: bool = True) -> Job:
    """Ask for the revision in force to be loaded again where the host differs from it; that needs no trial.

    Once begun it comes to its end, by the host's guard where the worker can't.
    Raises Refused while a revision is on trial.
    """
    live = rows.live_revision(host)
    why = reason or "the host differs from it"
    if live is None:
        return firewall_stop(actor, host, why)
    return revision_apply(actor, host, why=why, again=live, approved=approved)


def drift_adopt(actor: Actor, host: Host, *, reason: str = "") -> tuple[CustomRule, ...]:
    """Make own rules of all that somebody added to our chains: wishes, that the next apply makes part of a revision.

    All or nothing: raises Refused naming what can't be one, ValidationError for a rule that may not be.
    """
    check(actor, "firewall.adopt")
    found = drift(host)
    if found is None:
        raise Refused("Nothing on the host differs from the revision in force.", note="There is nothing to adopt.")
    taken = adoption(rows.site_in(found.live), found.lines)
    if taken.refused:
        more = f" and {len(taken.refused) - 3} more" if len(taken.refused) > 3 else ""
        raise Refused(
            f"Not all of it can be adopted: {'; '.join(taken.refused[:3])}{more}.",
            note="Nothing was adopted. Wish for those, or restore the host.",
        )
    why = reason or f"found on {host.name}"
    wanted = [own_rules.Wanted(place=rule.place, rule=rule.rule, reason=why) for rule in taken.rules]
    with transaction.atomic():
        return tuple(own_rules.custom_save(actor, host, each) for each in wanted)
