"""The plan of a reinstall."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dom0.errors import Refused
from dom0.plan import Plan
from dom0.state import Golden, Place, State
from dom0.steps import Hand
from machines import plan, plan_snapshot
from machines.plan_reinstall import plan_reinstall
from machines.specs import MIB, ImageSpec, MachineSpec
from tests.machines.test_plan import compare, text_of

OTHER = ImageSpec(name="bookworm", archive="bookworm.tar.zst", digest="7e" * 32, family="debian", min_root_mib=200)


def after(made: Plan, state: State) -> State:
    for step in made.steps:
        state = step.after(state)
    return state


def verbs(made: Plan) -> list[str]:
    return [step.action.verb if isinstance(step.action, Hand) else step.stage for step in made.steps]


@pytest.fixture
def running(spec: MachineSpec, bare: State) -> State:
    return after(plan.plan_create(spec, bare), bare)


@pytest.fixture
def again(spec: MachineSpec) -> MachineSpec:
    return replace(spec, root_generation=2)


def test_it_powers_off_installs_on_the_same_volume_tunes_and_starts(again: MachineSpec, running: State):
    made = plan_reinstall(again, running)
    compare("reinstall.txt", text_of(made))
    assert verbs(made) == ["domain-stop", "root-install", "root-tune", "domain-start"]
    assert made.steps[1].destroys == "All that is on WEB-Dom-root (256 MB) is lost for good."
    assert [step for step in made.steps if step.destroys] == [made.steps[1]]
    assert plan_reinstall(again, after(made, running)).steps == ()


def test_name_address_mac_volumes_and_definition_stay(again: MachineSpec, running: State):
    done = after(plan_reinstall(again, running), running)
    assert done.members == running.members
    assert done.files == running.files
    assert done.domains == running.domains
    assert done.volumes[again.volume].root == again.root_mark
    assert set(done.volumes) == set(running.volumes)


def test_another_image_is_made_ready_before_the_machine_is_powered_off(again: MachineSpec, running: State):
    other = replace(again, image=OTHER)
    made = plan_reinstall(other, running)
    assert verbs(made)[:2] == ["golden-make", "domain-stop"]
    assert plan_reinstall(other, after(made, running)).steps == ()


def test_stopped_after_any_step_it_goes_on_with_exactly_what_is_left(again: MachineSpec, running: State):
    other, state = replace(again, image=OTHER), running
    steps = plan_reinstall(other, running).steps
    for number, step in enumerate(steps, start=1):
        state = step.after(state)
        assert [s.shown for s in plan_reinstall(other, state).steps] == [s.shown for s in steps[number:]]


@pytest.mark.parametrize("known", ["by the row", "by the golden filesystem"])
def test_an_image_that_does_not_fit_is_refused_with_both_ways_out(known: str, again: MachineSpec, running: State):
    image = replace(OTHER, min_root_mib=300 if known == "by the row" else 16)
    golden = Golden(digest=image.digest, path="x", size_bytes=300 * MIB)
    with pytest.raises(Refused, match="needs a root of 300 MB; WEB-Dom has 256 MB") as refused:
        plan_reinstall(replace(again, image=image), running.having("goldens", image.digest, golden))
    assert refused.value.note == "Nothing was changed. Choose a smaller image, or grow the root to 300 MB first."


def test_what_is_half_restored_is_another_jobs(again: MachineSpec, running: State):
    half = replace(running.volumes[again.volume], unfinished="restoring")
    with pytest.raises(Refused, match="restoring it was begun"):
        plan_reinstall(again, running.having("volumes", again.volume, half))


def test_snapshots_stay_and_get_room_for_all_that_is_overwritten(again: MachineSpec, bare: State):
    spec = replace(again, volume_group="vg0", swap_mib=64, log_mib=64)
    group = Place(name="vg0", size_bytes=4 << 30, free_bytes=1 << 30, extent_bytes=4 << 20)
    state = bare.having("places", "vg0", group)
    former = replace(spec, root_generation=1)
    state = after(plan.plan_create(former, state), state)
    state = after(plan_snapshot.plan_take(former, state, "before", 64), state)
    kept = replace(state.volumes["vg0/WEB-Dom-root.before"], room_bytes=64 * MIB)
    state = state.having("volumes", kept.name, kept)
    made = plan_reinstall(spec, state)
    assert [verb for verb in verbs(made) if verb in ("volume-grow", "root-install")] == ["volume-grow", "root-install"]
    assert kept.name in after(made, state).volumes
    tight = state.having("places", "vg0", replace(state.places["vg0"], free_bytes=0))
    with pytest.raises(Refused, match="The snapshot before of WEB-Dom would run full"):
        plan_reinstall(spec, tight)


@pytest.fixture
def with_others(again: MachineSpec, bare: State) -> tuple[MachineSpec, State]:
    """A machine with swap and log that has run for a while."""
    spec = replace(again, volume_group="vg0", swap_mib=64, log_mib=64)
    group = Place(name="vg0", size_bytes=4 << 30, free_bytes=1 << 30, extent_bytes=4 << 20)
    state = bare.having("places", "vg0", group)
    return spec, after(plan.plan_create(replace(spec, root_generation=1), state), state)


def test_swap_and_log_are_zeroed_and_made_anew_while_the_machine_is_off(with_others: tuple[MachineSpec, State]):
    """Whoever may only reinstall it, and is root in it afterwards, reads nothing its former root wrote."""
    spec, state = with_others
    made = plan_reinstall(spec, state)
    anew = ["volume-remove", "volume-create"]
    assert [v for v in verbs(made) if v != "volume-hand-over"] == [
        "domain-stop", *anew, *anew, "fs-create", "fs-create", "root-install", "root-tune", "domain-start",
    ]  # fmt: skip
    assert [step.destroys for step in made.steps if step.destroys] == [
        f"All that is on vg0/WEB-Dom-{kind} ({size} MB) is lost for good."
        for kind, size in (("swap", 64), ("log", 64), ("root", 256))
    ]
    assert plan_reinstall(spec, after(made, state)).steps == ()


def test_stopped_after_any_step_it_makes_each_of_them_anew_once(with_others: tuple[MachineSpec, State]):
    spec, state = with_others
    steps = plan_reinstall(spec, state).steps
    for number, step in enumerate(steps, start=1):
        state = step.after(state)
        assert [s.title for s in plan_reinstall(spec, state).steps] == [s.title for s in steps[number:]]


def test_a_swap_or_log_half_wiped_goes_on_and_a_root_half_wiped_is_another_jobs(with_others: tuple[MachineSpec, State]):
    spec, state = with_others
    state = plan_reinstall(spec, state).steps[0].after(state)
    half = state.having("volumes", "vg0/WEB-Dom-log", replace(state.volumes["vg0/WEB-Dom-log"], unfinished="wiping"))
    assert verbs(plan_reinstall(spec, half)).count("volume-remove") == 2
    root = state.having("volumes", spec.volume, replace(state.volumes[spec.volume], unfinished="wiping"))
    with pytest.raises(Refused, match="wiping it was begun"):
        plan_reinstall(spec, root)


def test_a_log_that_came_after_the_new_root_is_left_alone(with_others: tuple[MachineSpec, State]):
    spec, state = with_others
    done = after(plan_reinstall(spec, state), state)
    later = done.having("volumes", "vg0/WEB-Dom-log", replace(done.volumes["vg0/WEB-Dom-log"], anew=""))
    assert plan_reinstall(spec, later).steps == ()
