"""fridu doctor [MACHINE]: why it can't be reached, or how the host is; each finding as soon as it is there."""

from __future__ import annotations

import time

from dom0 import verdicts
from dom0.verdicts import Verdict
from fridu_site.cli.call import Call, Misunderstood
from hosts import diagnosis, doctor
from hosts.models import Host, Job
from machines import doctor_services
from machines.models import Machine

POLL_S = 0.1
SIGNS = {verdicts.GOOD: "ok  ", verdicts.BAD: "BAD ", verdicts.UNSURE: "?   "}


def of_machine(call: Call, machine: Machine) -> int:
    return watched(call, doctor_services.machine_doctor(call.actor, machine))


def of_host(call: Call, host: Host) -> int:
    return watched(call, doctor.host_doctor(call.actor, host))


def check_of(call: Call, machine: Machine) -> int:
    """fridu check NAME [repair]."""
    repair = call.typed.words[1:] == ("repair",)
    if len(call.typed.words) > 1 and not repair:
        raise Misunderstood("check takes a machine's name, and perhaps repair: fridu check WEB-Dom repair")
    return watched(call, doctor_services.machine_check(call.actor, machine, repair=repair, reason=call.typed.reason))


def watched(call: Call, job: Job) -> int:
    """Say each finding when it is there; 0 where nothing is bad."""
    told: set[int] = set()
    warned = False
    while True:
        job.refresh_from_db()
        found = diagnosis.lines(job)
        for number, line in enumerate(found):
            if line.found and number not in told:
                told.add(number)
                _say(call, line.asks, line.found)
        if not job.is_open:
            call.say("--")
            call.say(f"{diagnosis.summed_up(job, found)} Job {job.pk}.")
            return 0 if found and not any(line.bad or line.found is None for line in found) else 1
        if not warned and not job.host.fresh:
            warned = True
            call.say(f"The worker on {job.host} does not answer; job {job.pk} waits for it.")
        time.sleep(POLL_S)


def _say(call: Call, asks: str, found: Verdict) -> None:
    call.say(f"{SIGNS[found.verdict]} {asks} {found.says}")
    if found.do:
        call.say(f"      {found.do}")
    if call.typed.verbose:
        for line in found.seen:
            call.say(f"      | {line}")
