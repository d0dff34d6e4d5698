"""The verbs. Each checks access by the policy table, calls one service and follows its job."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from django.core.exceptions import PermissionDenied

from dom0.errors import Refused
from fridu_site.cli import adopt as adopt_cli
from fridu_site.cli import call as typed
from fridu_site.cli import limits, run
from fridu_site.cli import rescue as rescue_cli
from fridu_site.cli.call import Call
from fridu_site.cli.change import change as change_
from fridu_site.cli.create import create
from fridu_site.cli.doctor import check_of, of_host, of_machine
from fridu_site.cli.explain import explain, reach_
from fridu_site.cli.firewall import firewall_
from fridu_site.cli.follow import follow, show_plan, stage
from fridu_site.cli.images import image_
from fridu_site.cli.own_rules import rules_
from fridu_site.cli.rules import import_rules
from fridu_site.cli.snapshots import reinstall, snapshot_
from fridu_site.cli.vpn import vpn_
from fridu_site.cli.zones import address_, create_zone, zone_, zones
from hosts.models import Host, Job, JobStep
from hosts.services import job_cancel, job_go_on
from hosts.visibility import jobs_visible_to, may_mend
from machines import services as machines
from machines.models import Machine
from ui import words


def start(call: Call) -> int:
    return follow(call, machines.machine_start(call.actor, machine_(call, "machine.start"), reason=call.typed.reason))


def stop(call: Call) -> int:
    """Ask it to power off; forced, end it."""
    machine = machine_(call, "machine.stop")
    job = machines.machine_stop(call.actor, machine, force=call.typed.force, reason=call.typed.reason)
    return follow(call, job)


def reboot(call: Call) -> int:
    return follow(call, machines.machine_reboot(call.actor, machine_(call, "machine.reboot"), reason=call.typed.reason))


def delete(call: Call) -> int:
    machine = machine_(call, "machine.delete")
    job = machines.machine_delete(call.actor, machine, reason=call.typed.reason, approved=call.typed.yes)
    return follow(call, job)


def import_(call: Call) -> int:
    """Read the files of an older box; show what they would make, and make it when told to."""
    call.demand("firewall.import")
    call.word(0, "a file, for example: fridu import production.rules")
    return import_rules(call, _host(call), [Path(word) for word in call.typed.words])


def jobs(call: Call) -> int:
    """The latest twenty jobs one may see."""
    call.demand("job.view", anywhere=True)
    for job in jobs_visible_to(call.user).select_related("actor").order_by("-id")[:20]:
        state = job.get_state_display()
        call.say(f"{job.pk:>6}  {state:<20} {job.title}  ({job.actor}, {job.created:%Y-%m-%d %H:%M})")
    return 0


def job(call: Call) -> int:
    """One job: followed while it works, asked about while it waits, cancelled or gone on with when told."""
    number = typed.count(call.word(0, "a job's number"), "job")
    found = jobs_visible_to(call.user).select_related("host", "actor").filter(pk=number).first()
    if found is None:
        raise PermissionDenied(f"There is no job {number}.")
    if call.typed.cancel:
        if not may_mend(call.user, found):
            raise PermissionDenied(f"Only an operator, or who asked for it, cancels job {number}.")
        job_cancel(call.actor, found)
        call.say(f"Job {number} ({found.title}) is cancelled; nothing was done.")
        return 0
    if call.typed.go_on:
        if not may_mend(call.user, found):
            raise PermissionDenied(f"Only an operator, or who asked for it, goes on with job {number}.")
        job_go_on(call.actor, found)
    elif not found.is_open:
        _tell(call, found)
        return 0 if found.state in (Job.State.DONE, Job.State.NOTHING) else 1
    return follow(call, found)


def _tell(call: Call, job: Job) -> None:
    if not job.steps.exists():
        show_plan(call, job)
    for step in job.steps.order_by("number"):
        took = f" ({words.took(step.took_s)})" if step.took_s is not None else ""
        call.say(f".. {stage(step)} {step.title.rstrip('.')}, {step.get_state_display()}{took}")
        if call.typed.verbose or step.state == JobStep.State.FAILED:
            for line in [*step.shown.splitlines(), *step.output.splitlines()[-20:]]:
                call.say(f"       {line}")
    call.say("--")
    call.say(" ".join(part for part in (f"{job.title}: {job.get_state_display()}.", job.message, job.note) if part))


VERBS: dict[str, Callable[[Call], int]] = {
    "create": create,
    "start": start,
    "stop": stop,
    "reboot": reboot,
    "pause": lambda call: run.pause(call, machine_(call, "machine.pause")),
    "figures": lambda call: run.figures(call, machine_(call, "machine.view")),
    "resume": lambda call: run.resume(call, machine_(call, "machine.resume")),
    "delete": delete,
    "change": lambda call: change_(call, machine_(call, "machine.change")),
    "limits": lambda call: limits.limits(call, machine_(call, limits.action(call))),
    "reinstall": lambda call: reinstall(call, machine_(call, "machine.reinstall")),
    "snapshot": lambda call: snapshot_(call, machine_),
    "import": import_,
    "firewall": lambda call: firewall_(call, _host),
    "explain": lambda call: explain(call, _host(call)),
    "rules": lambda call: rules_(call, _host(call)),
    "reach": lambda call: reach_(call, _host(call)),
    "zones": zones,
    "zone": lambda call: zone_(call, lambda: _host(call)),
    "CreateZone": lambda call: create_zone(call, lambda: _host(call)),
    "address": lambda call: address_(call, lambda: _host(call)),
    "vpn": lambda call: vpn_(call, _host(call)),
    "image": lambda call: image_(call, _host(call)),
    "adopt": lambda call: adopt_cli.adopt(call, _host(call)),
    "drift": lambda call: adopt_cli.drift(call, machine_(call, "machine.drift")),
    "rescue": lambda call: rescue_cli.rescue(call, machine_(call, "machine.rescue")),
    "check": lambda call: check_of(call, machine_(call, "machine.check")),
    "doctor": lambda call: (
        of_machine(call, machine_(call, "machine.doctor")) if call.typed.words else of_host(call, _host(call))
    ),
    "jobs": jobs,
    "job": job,
}


def _host(call: Call) -> Host:
    hosts = list(Host.objects.all()) if not call.typed.host else list(Host.objects.filter(name=call.typed.host))
    if len(hosts) == 1:
        return hosts[0]
    if not hosts:
        raise Refused("The panel knows no such host." if call.typed.host else "No worker has reported a host yet.")
    raise Refused("There are several hosts.", note=f"Say --host {' or '.join(h.name for h in hosts)}.")


def machine_(call: Call, action: str) -> Machine:
    """The machine of that name on which the user may do `action`. Raises PermissionDenied, Refused."""
    name = call.word(0, f"a machine's name, for example: fridu {call.typed.verb} WEB-Dom")
    named = {"name": name, **({"host__name": call.typed.host} if call.typed.host else {})}
    found = list(Machine.objects.visible_to(call.user, action).select_related("host").filter(**named)[:2])
    if len(found) == 1:
        return found[0]
    if found:
        raise Refused(f"Several hosts have a machine called {name}.", note="Say which with --host NAME.")
    if Machine.objects.visible_to(call.user).filter(**named).exists():
        raise PermissionDenied(f"You may see {name}, but not {call.typed.verb} it.")
    raise PermissionDenied(f"There is no machine called {name}.")
