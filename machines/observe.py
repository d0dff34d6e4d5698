"""Books what each round finds of the machines. Observation never deletes a wish: what is not there is missing."""

from __future__ import annotations

from django.utils import timezone

from dom0.state import Domain, State
from hosts.models import Host
from machines.models import Machine


def book(host: Host, state: State) -> None:
    """Write down what `state` says of each machine of `host`; a row is written only where it changed."""
    now = timezone.now()
    found = {domain.uuid: domain for domain in state.domains.values()}
    changed: dict[str, list[int]] = {}
    rows = Machine.objects.filter(host=host)
    for machine in rows.only("pk", "uuid", "observed", "built_at"):
        seen = _seen(found.get(str(machine.uuid)), built=machine.built_at is not None)
        if seen != machine.observed:
            changed.setdefault(seen, []).append(machine.pk)
    for seen, ids in changed.items():
        rows.filter(pk__in=ids).update(observed=seen, since=now)
    rows.update(observed_at=now)


def _seen(domain: Domain | None, *, built: bool) -> str:
    """A machine that was never finished is not missing yet."""
    if domain is None:
        return Machine.Observed.MISSING if built else Machine.Observed.UNKNOWN
    if domain.crashed:
        return Machine.Observed.CRASHED
    if domain.paused:
        return Machine.Observed.PAUSED
    return Machine.Observed.RUNNING if domain.running else Machine.Observed.STOPPED
