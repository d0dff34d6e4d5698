"""Books what machines used, every half minute: a few questions and one or two writes, however many they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from dom0.state import Domain, State
from hosts.models import Host
from machines import series
from machines.models import Figures, Machine
from machines.series import Counted, Sample

VOLUMES = ("root", "swap", "log")
NOTHING_YET: dict[str, Any] = {"at": None, "counters": {}, "now": {}, "hour": []}


@dataclass(kw_only=True)
class Round:
    """What one round has to write."""

    now: datetime
    rows: list[Figures] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    anew: list[int] = field(default_factory=list)  # machines that run, but not the run of the last look
    aged: list[int] = field(default_factory=list)  # machines whose day has one sample more

    @property
    def at(self) -> int:
        return int(self.now.timestamp())


def book(host: Host, state: State) -> None:
    """Write down what the machines of `host` used since the last time, where that is half a minute ago."""
    this = Round(now=timezone.now())
    # Two seconds early, for a round is never exactly on time.
    if 0 <= this.at - host.figures.get("machines", {}).get("at", 0) < series.BOOK_S - 2:
        return
    domains = {domain.uuid: domain for domain in state.domains.values() if domain.running}
    wanted = ("machine_id", "at", "counters", "now", "hour")
    former = {row["machine_id"]: row for row in Figures.objects.filter(machine__host=host).values(*wanted)}
    for machine in Machine.objects.filter(host=host).only("pk", "uuid", "vif", "name", "volume_group"):
        domain = domains.get(str(machine.uuid))
        was = former.get(machine.pk, NOTHING_YET)
        if domain is not None:
            _follow(this, machine, was, _counted(machine, domain, state))
        elif was["counters"]:
            this.rows.append(Figures(machine=machine, at=this.now, hour=was["hour"]))
    _write(this.rows, ("at", "counters", "now", "hour"))
    _write(list(_days(this)), ("day",))
    # It was restarted from inside: nobody asked for a job, and no round saw it off.
    long_ago = this.now - timedelta(seconds=2 * series.BOOK_S)
    Machine.objects.filter(pk__in=this.anew, since__lt=long_ago).update(since=this.now)
    host.figures["machines"] = _totals(this, len(domains))
    host.save(update_fields=["figures"])


def _counted(machine: Machine, domain: Domain, state: State) -> Counted:
    net = state.traffic.get(machine.vif, (-1, -1))
    prefix = f"{machine.volume_group}/{machine.name}" if machine.volume_group else machine.name
    volumes = [state.disks[name] for name in (f"{prefix}-{kind}" for kind in VOLUMES) if name in state.disks]
    mounted = state.disks.get(domain.uuid)
    disks = [mounted] if mounted else volumes
    return Counted(
        run=domain.number,
        cpu_ns=domain.cpu_ns,
        memory_kib=domain.memory_kib,
        net_in=net[0],
        net_out=net[1],
        disk_read=sum(read for read, _ in disks) if disks else -1,
        disk_written=sum(written for _, written in disks) if disks else -1,
    )


def _follow(this: Round, machine: Machine, was: dict[str, Any], counts: Counted) -> None:
    """One machine that runs, from what its row had."""
    before = series.counted(was["counters"])
    if before is not None and before.run != counts.run:
        this.anew.append(machine.pk)
    sample = series.rate(before, counts, (this.now - was["at"]).total_seconds() if was["at"] else 0.0, this.at)
    row = Figures(machine=machine, at=this.now, counters=series.kept(counts), now=was["now"], hour=was["hour"])
    this.rows.append(row)
    if sample is None:
        return
    line = series.row(sample)
    this.samples.append(sample)
    row.hour = series.pushed(was["hour"], line, span_s=3600, most=series.HOUR_SAMPLES)
    day_at = was["now"].get("day_at", row.hour[0][0])
    if this.at - day_at >= series.DAY_S:
        this.aged.append(machine.pk)
        row.day = [series.mean(row.hour, day_at, this.at) or line]
        day_at = this.at
    row.now = {"sample": line, "day_at": day_at}


def _days(this: Round) -> Iterable[Figures]:
    """The rows whose day goes on, with the day they had: read only then, every ten minutes."""
    if not this.aged:
        return
    days = dict(Figures.objects.filter(machine__in=this.aged).values_list("machine_id", "day"))
    for row in this.rows:
        if row.machine_id in days and row.day:
            row.day = series.pushed(days[row.machine_id], row.day[0], span_s=86_400, most=series.DAY_SAMPLES)
            yield row


def _write(rows: list[Figures], fields: Iterable[str]) -> None:
    """One statement for all of them, those that are not there yet included."""
    if rows:
        Figures.objects.bulk_create(rows, update_conflicts=True, unique_fields=["machine"], update_fields=[*fields])


def _totals(this: Round, running: int) -> dict[str, int]:
    """What all of them used together, for the host's card."""
    return {
        "at": this.at,
        "running": running,
        **{
            name: sum(max(0, getattr(sample, name)) for sample in this.samples)
            for name in ("cpu", "memory_mib", *series.RATES)
        },
    }
