"""A creation's stages: done, left out, alone, forced; and that force is never done twice."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from dom0.errors import Refused
from dom0.plan import Plan
from dom0.state import Golden, Place, State
from machines import modes, plan
from machines.modes import STAGES, Modes
from machines.plan_create import plan_create
from machines.specs import MachineSpec, Tuned


@pytest.fixture
def wished(spec: MachineSpec) -> MachineSpec:
    return replace(spec, volume_group="vg0", log_mib=64)


@pytest.fixture
def host(bare: State) -> State:
    group = Place(name="vg0", size_bytes=1 << 30, free_bytes=1 << 30, extent_bytes=4 << 20)
    return bare.having("places", "vg0", group)


def after(made: Plan, state: State) -> State:
    for step in made.steps:
        state = step.after(state)
    return state


def planned(spec: MachineSpec, state: State, **chosen: str) -> Plan:
    return plan_create(spec, state, modes.read(chosen), "job-7")


@pytest.fixture
def running(wished: MachineSpec, host: State) -> State:
    return after(planned(wished, host), host)


@pytest.fixture
def off(wished: MachineSpec, running: State) -> State:
    return after(plan.plan_stop(wished, running), running)


def again(spec: MachineSpec) -> MachineSpec:
    """As the service saves a forced wish: with the root's next generation."""
    return replace(spec, root_generation=spec.root_generation + 1)


@pytest.mark.parametrize("stage", STAGES)
def test_only_does_that_stage_alone_and_the_others_are_said_to_be_left_out(stage, wished, host, off):
    made = planned(wished, host if stage in ("lvmcreate", "updateether", "createvmconf") else off, **{stage: "only"})
    assert {step.stage for step in made.steps} <= {stage, "image"}
    said = [item.title for item in made.items if item.title.startswith("Left out")]
    assert said == [f"Left out, as asked: {other}=no" for other in STAGES if other != stage]


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        (
            {"lvmcreate": "no"},
            "fscreate needs the volume vg0/WEB-Dom-log, which is not there, and lvmcreate is left out",
        ),
        ({"installroot": "only"}, "installroot needs the volume vg0/WEB-Dom-root"),
        ({"installroot": "no"}, "tuneroot needs tiny on vg0/WEB-Dom-root, which is not there, and installroot is left"),
        ({"installroot": "no", "tuneroot": "no"}, "start needs tiny on vg0/WEB-Dom-root"),
        ({"tuneroot": "no"}, "start needs a tuned root, which is not there, and tuneroot is left out"),
        ({"fscreate": "no"}, "start needs a filesystem on vg0/WEB-Dom-log"),
        ({"updateether": "no"}, "start needs the firewall's leave"),
        ({"createvmconf": "no"}, "start needs a definition"),
        ({"start": "only"}, "start needs the volume vg0/WEB-Dom-root"),
    ],
)
def test_what_needs_a_stage_that_is_left_out_says_so_before_anything_is_done(chosen, says, wished, host):
    with pytest.raises(Refused) as refused:
        planned(wished, host, **chosen)
    assert refused.value.message.startswith(says)
    assert "Use " in refused.value.note


def test_two_stages_cant_both_be_the_only_one_and_none_is_made_up():
    with pytest.raises(Refused, match="fscreate=only leaves out every other stage, start=force asks for one more"):
        modes.read({"fscreate": "only", "start": "force"})
    with pytest.raises(Refused, match="There is no stage makecoffee"):
        modes.read({"makecoffee": "yes"})
    with pytest.raises(Refused, match="start=maybe is none of yes, no, force, only"):
        modes.read({"start": "maybe"})


@pytest.mark.parametrize("stage", modes.LOSING)
def test_what_force_loses_is_said_refused_while_it_runs_and_done_once(stage, wished, running, off):
    spec = again(wished)
    with pytest.raises(Refused, match=r"WEB-Dom runs; .* would take it away under it"):
        planned(spec, running, **{stage: "force"})
    made = planned(spec, off, **{stage: "force"})
    assert any(step.destroys for step in made.steps if step.stage == stage)
    assert planned(spec, after(made, off), **{stage: "force"}).steps == ()


@pytest.mark.parametrize("stage", STAGES)
def test_a_forced_stage_stopped_after_any_step_goes_on_with_exactly_what_is_left(stage, wished, off):
    spec = again(wished) if stage in modes.LOSING else wished
    state, steps = off, planned(spec, off, **{stage: "force"}).steps
    assert steps
    for number, step in enumerate(steps, start=1):
        state = step.after(state)
        left = planned(spec, state, **{stage: "force"}).steps
        # What leaves no mark of its own until its last step may be done once more; it does no harm twice.
        unmarked = stage in ("updateether", "createvmconf") and step.stage == stage
        assert left == steps[number:] or (unmarked and left and left[-1] == steps[-1]), f"after {step.title}"
    assert planned(spec, state, **{stage: "force"}).steps == ()


def test_force_never_touches_a_strangers_volume(wished, off):
    stranger = replace(off.volumes["vg0/WEB-Dom-log"], machine="another")
    for stage in STAGES:
        with pytest.raises(Refused, match="belongs to another machine"):
            planned(again(wished), off.having("volumes", stranger.name, stranger), **{stage: "force"})


def test_forced_tuning_opens_an_owners_root_in_a_process_of_its_own_and_on_lxc_only(wished, off):
    wished = replace(wished, autostart=False)
    made = planned(wished, off, tuneroot="force", start="no")
    assert [step.stage for step in made.steps] == ["tuneroot"]
    assert "dom0.tune" in made.steps[0].shown
    mark = Tuned.read(after(made, off).volumes["vg0/WEB-Dom-root"].tuned)
    assert mark is not None
    assert mark.base.endswith("-job-7")
    with pytest.raises(Refused, match="never mounts a filesystem that WEB-Dom's owner had root on") as refused:
        planned(
            replace(wished, place=replace(wished.place, libvirt="xen:///system")), off, tuneroot="force", start="no"
        )
    assert "Stop it and set its SSH keys or a one-time password" in refused.value.note


def test_a_forced_start_restarts_what_runs_once(wished, running):
    made = planned(wished, running, start="force")
    assert [step.title.partition(" ")[0] for step in made.steps] == ["Power", "Start"]
    assert planned(wished, after(made, running), start="force").steps == ()


def test_a_root_without_an_image_is_formatted_and_ext3_is_copied_from_an_ext3_golden(wished, host):
    ext3 = replace(wished, filesystem="ext3")
    made = planned(ext3, host, installroot="no", tuneroot="no", start="no")
    assert "type=ext3" in next(s.shown for s in made.steps if "volume=vg0/WEB-Dom-root" in s.shown)
    copied = planned(ext3, host)
    assert "filesystem=ext3" in copied.steps[0].shown
    install = next(step for step in copied.steps if step.stage == "installroot")
    assert f"image={ext3.image.digest}.ext3" in install.shown
    golden = Golden(digest=ext3.golden, path="", size_bytes=14 << 20)
    assert planned(ext3, host.having("goldens", ext3.golden, golden)).steps == copied.steps[1:]
    state = after(copied, host)
    assert state.volumes["vg0/WEB-Dom-root"].content == "ext3"
    assert planned(ext3, state).steps == ()


def test_an_unformatted_volume_no_longer_counts_as_zeroed_once_the_machine_has_it(wished, host):
    """On a hypervisor whose guests write the volume themselves."""
    xen = replace(wished, place=replace(wished.place, libvirt="qemu:///system"), swap_mib=64, log_mib=0)
    state = after(planned(xen, host, fscreate="no", start="no"), host)
    assert state.volumes["vg0/WEB-Dom-swap"].blank
    from dom0.plan import Draft
    from machines import stages as built

    draft = Draft(state)
    built.start(xen, draft)
    first = draft.plan().steps[0]
    assert first.shown.split()[1:3] == ["volume-hand-over", "name=vg0/WEB-Dom-swap"]
    assert not draft.state.volumes["vg0/WEB-Dom-swap"].blank


def test_memory_promised_to_machines_about_to_start_is_not_given_twice(wished, host):
    tight = replace(host, free_memory_mib=wished.memory_mib + 10)
    assert planned(wished, tight).steps
    with pytest.raises(Refused, match=r"WEB-Dom wants 128 MB of memory; 118 MB are free .* besides 20 MB for machines"):
        planned(replace(wished, promised_mib=20), tight)
    assert planned(replace(wished, promised_mib=20), tight, start="no").steps


def test_a_finished_machine_is_one_that_can_be_started():
    assert Modes().finishes
    assert modes.read({"start": "no"}).finishes
    assert modes.read({"start": "only"}).finishes
    assert not modes.read({"lvmcreate": "only"}).finishes
    assert not modes.read({"tuneroot": "no", "start": "no"}).finishes
    assert modes.read({"fscreate": "force"}).loses == ("fscreate",)


def test_what_a_mark_cannot_say_stays_out_of_what_a_person_approves(wished, host):
    """The same plan for the same wish, whichever job asks."""
    assert plan_create(wished, host, modes.ALL, "job-1").digest == plan_create(wished, host, modes.ALL, "job-2").digest
    assert isinstance(host.places, MappingProxyType)


def test_under_xen_the_worker_makes_no_volume_outside_a_volume_group(wished, host):
    with pytest.raises(Refused, match="Under Xen a machine's volumes lie in a volume group"):
        planned(replace(wished, volume_group="", place=replace(wished.place, libvirt="xen:///system")), host)
