"""Pausing, going on, and ending by force: what is refused, and what has to come first."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dom0.errors import Refused
from dom0.state import Domain, State
from machines import plan, plan_run
from machines.specs import MachineSpec
from tests.machines.test_plan import after


@pytest.fixture
def running(spec: MachineSpec, bare: State) -> State:
    return after(plan.plan_create(spec, bare), bare)


@pytest.fixture
def off(spec: MachineSpec, running: State) -> State:
    return after(plan.plan_stop(spec, running), running)


@pytest.fixture
def paused(spec: MachineSpec, running: State) -> State:
    return after(plan_run.plan_pause(spec, running), running)


def test_what_is_off_is_not_paused(spec: MachineSpec, off: State):
    with pytest.raises(Refused, match="is off: there is nothing to pause"):
        plan_run.plan_pause(spec, off)


def test_what_was_paused_and_is_off_now_does_not_go_on_but_can_be_started(spec: MachineSpec, off: State):
    with pytest.raises(Refused, match="what it was doing when it was paused is gone") as refused:
        plan_run.plan_resume(spec, off)
    assert "fridu start WEB-Dom" in refused.value.note


def test_a_paused_machine_that_is_started_goes_on(spec: MachineSpec, paused: State):
    made = plan.plan_start(spec, paused)
    domain = after(made, paused).domains[spec.name]
    assert (domain.running, domain.paused) == (True, False)


@pytest.mark.parametrize("planner", [plan.plan_stop, plan.plan_delete])
def test_a_paused_machine_goes_on_before_it_is_asked_to_power_off(planner, spec: MachineSpec, paused: State):
    stages = [step.stage for step in planner(spec, paused).steps]
    assert stages.index("resume") < stages.index("stop")


def test_stopping_waits_and_asks_while_restarting_and_deleting_force(spec: MachineSpec, running: State):
    def then(made) -> str:
        return next(dict(s.action.args)["then"] for s in made.steps if s.stage == "stop")

    assert then(plan.plan_stop(spec, running)) == "refuse"
    assert then(plan.plan_reboot(spec, running, "job-1")) == "force"
    assert then(plan.plan_delete(spec, running)) == "force"


def test_forced_off_says_what_is_lost_and_waits_for_nothing(spec: MachineSpec, running: State):
    (_, step) = plan.plan_stop(spec, running, force=True).steps
    assert step.destroys == "What WEB-Dom has not written to its volumes yet is lost."
    assert "grace_s" not in step.shown


def test_a_stranger_of_that_name_is_not_paused(spec: MachineSpec, running: State):
    other = running.having("domains", spec.name, Domain(name=spec.name, uuid="0" * 36, running=True))
    with pytest.raises(Refused, match="another machine called WEB-Dom"):
        plan_run.plan_pause(spec, other)


def test_another_order_is_written_when_it_is_started_again(spec: MachineSpec, off: State):
    made = plan.plan_start(replace(spec, start_order=7), off)
    assert any("7 WEB-Dom" in step.shown for step in made.steps)


def test_libvirts_own_flag_is_taken_off_a_machine_that_had_it(spec: MachineSpec, running: State):
    domain = replace(running.domains[spec.name], autostart=True)
    made = plan.plan_start(spec, running.having("domains", spec.name, domain))
    assert [step.action.args for step in made.steps] == [(("uuid", spec.uuid), ("autostart", "no"))]
