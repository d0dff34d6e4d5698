"""What a host says of its firewall, booked: which revision is in force, which is on trial, which was taken back.

The host decides (`dom0.trial`); rows follow, from the job that has just ended or from the watcher's next look.
Called on dom0 only, in a transaction of the caller's.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.db import models
from django.utils import timezone

from audit import log
from audit.log import SYSTEM, Thing
from audit.models import Entry
from dom0 import host as host_file
from dom0 import trial
from dom0.trial import Standing
from firewall import rows
from firewall.models import PublishedService, Revision, Watched
from firewall.plan import CLOSED
from firewall.specs import from_dict
from hosts.models import Host, Job, JobStep

S = Revision.State
#: A job that ended so lately may be the one whose outcome is booked now.
ASKED = timedelta(minutes=10)


def standing() -> Standing:
    """What this host says now. Raises Refused where it has no host file, OSError where it can't be read."""
    return trial.read(host_file.load())


def book(host: Host, says: Standing) -> None:
    """Bring the rows of `host` in line with what it says."""
    Host.objects.select_for_update().get(pk=host.pk)
    tried = says.pending.revision if says.pending else ""
    _in_force(host, says.confirmed)
    if says.pending and says.applied == says.pending.token:
        _on_trial(host, says.pending, says.applied_nonce)
    _taken_back(host, tried, says)
    _restored(host, says)
    Watched.objects.update_or_create(
        host=host, defaults={"confirmed": says.confirmed, "pending": tried, "seen_at": timezone.now()}
    )


def named(host: Host, name: str) -> Revision | None:
    """The revision a host calls so; None for the closed one, and for one these rows know nothing of."""
    number, _, digest = name.partition("-")
    if not number.isdecimal() or not digest:
        return None
    return Revision.objects.filter(host=host, number=int(number), digest__startswith=digest).first()


def _in_force(host: Host, name: str) -> None:
    live = named(host, name)
    if live is None and name != CLOSED:
        return  # these rows are older than the host, or another's: they know no better
    others = Revision.objects.filter(host=host, state=S.LIVE)
    ended = (others.exclude(pk=live.pk) if live else others).update(state=S.FORMER)
    if live is None:
        if ended:
            PublishedService.objects.filter(host=host).update(live=False)
            _log_by_hand(host, "firewall.stop")
    elif live.state != S.LIVE:
        now = timezone.now()
        Revision.objects.filter(pk=live.pk).update(state=S.LIVE, live_at=now, until=None, nonce="")
        _services(host, live)
        _log_by_hand(host, "firewall.confirm", live)


def _services(host: Host, live: Revision) -> None:
    """Which published services the revision in force publishes just so."""
    in_force = set(from_dict(live.site).services)
    wished = PublishedService.objects.filter(host=host).select_related("external", "zone")
    just_so = [row.pk for row in wished if rows.service_of(row) in in_force]
    PublishedService.objects.filter(host=host).update(
        live=models.Case(models.When(pk__in=just_so, then=True), default=False)
    )


def _on_trial(host: Host, pending: trial.Pending, nonce: str) -> None:
    tried = named(host, pending.revision)
    if tried is None or tried.state == S.LIVE or (tried.state == S.TRIAL and tried.nonce == nonce):
        return
    until = timezone.now() + timedelta(seconds=pending.seconds_left)
    Revision.objects.filter(pk=tried.pk).update(state=S.TRIAL, until=until, nonce=nonce, seconds=pending.seconds)


def _taken_back(host: Host, tried: str, says: Standing) -> None:
    """What was on trial and is neither in force nor on trial any more. The wishes stay, marked not applied."""
    for revision in Revision.objects.filter(host=host, state=S.TRIAL):
        if revision.name == tried:
            continue
        Revision.objects.filter(pk=revision.pk).update(state=S.RETURNED, until=None, nonce="")
        ended = [o for o in says.outcomes.values() if o.revision == revision.name and o.outcome == "returned"]
        by = max(ended, key=lambda o: o.at).by if ended else "guard"
        if by == "operator":
            _log_by_hand(host, "firewall.return", revision)
        else:
            data = {"revision": revision.number, "by": by}
            why = f"nobody kept it in {revision.seconds} s"
            log.record(SYSTEM, "firewall.return", _thing(host), why=why, data=data)


def _restored(host: Host, says: Standing) -> None:
    """Restorations that the guard or boot brought to their end, or root by hand: logged once, told at their job."""
    ended = [o for o in says.outcomes.values() if o.outcome in ("restored", "closed") and _unasked(o)]
    if not ended:
        return
    entries = Entry.objects.filter(action="firewall.restore", object_id=str(host.pk))
    booked = {(data.get("token"), data.get("at")) for data in entries.values_list("data", flat=True)}
    for one in ended:
        number, at = one.revision.partition("-")[0], round(one.at)
        again = f"revision {number} is loaded again, and what the change on the host had let in is cut"
        shut = f"revision {number} does not load, so the host is closed but for SSH"
        said = again if one.outcome == "restored" else shut
        if (one.token, at) not in booked:
            why = "by hand on dom0" if one.by == "operator" else f"whoever began it ended on the way: {said}"
            data = {"revision": int(number or 0), "by": one.by, "token": one.token, "at": at}
            log.record(SYSTEM, "firewall.restore", _thing(host), why=why, data=data)
            Watched.objects.filter(host=host).update(drift=[], drift_since=None)
        job = one.token.removesuffix("-again").rpartition("-j")[2]
        if job.isdecimal():
            note = f"The guard has finished it: {said}. Go on looks again."
            failed = Job.objects.filter(pk=int(job), host=host, state=Job.State.FAILED).exclude(note=note)
            failed.filter(steps__state=JobStep.State.FAILED, steps__started__lte=_time(one.at)).update(note=note)


def _unasked(ended: trial.Outcome) -> bool:
    """Whether no job ended it, which would have logged it."""
    return ended.by != "operator" or ended.token.endswith("-hand")


def _time(at: float) -> datetime:
    return datetime.fromtimestamp(at, tz=UTC)


def _log_by_hand(host: Host, action: str, revision: Revision | None = None) -> None:
    """What root did on dom0 itself; what a person asked for here is logged by its job."""
    jobs = Job.objects.filter(host=host, kind=action).filter(
        models.Q(ended=None) | models.Q(ended__gt=timezone.now() - ASKED)
    )
    if any(revision is None or job.args.get("revision") == revision.pk for job in jobs):
        return
    data = {"revision": revision.number} if revision else {}
    log.record(SYSTEM, action, _thing(host), why="by hand on dom0", data=data)


def _thing(host: Host) -> Thing:
    return Thing(kind="firewall", id=str(host.pk), text=f"firewall of {host.name}")
