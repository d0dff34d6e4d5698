"""Plans of snapshots: taken, brought back, given room, removed; on image files and in a volume group."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dom0.errors import Refused
from dom0.plan import Plan
from dom0.state import Place, State, Volume
from dom0.steps import Hand
from machines import plan, plan_snapshot
from machines.specs import MIB, MachineSpec

ROOT, KEPT = "vg0/WEB-Dom-root", "vg0/WEB-Dom-root.before"


def after(made: Plan, state: State) -> State:
    for step in made.steps:
        state = step.after(state)
    return state


def verbs(made: Plan) -> list[str]:
    return [step.action.verb if isinstance(step.action, Hand) else step.stage for step in made.steps]


@pytest.fixture(params=["", "vg0"])
def wished(request: pytest.FixtureRequest, spec: MachineSpec) -> MachineSpec:
    return replace(spec, volume_group=request.param, root_mib=256)


@pytest.fixture
def group(spec: MachineSpec) -> MachineSpec:
    return replace(spec, volume_group="vg0", root_mib=256)


@pytest.fixture
def bare(bare: State) -> State:
    return bare.having("places", "vg0", Place(name="vg0", size_bytes=4 << 30, free_bytes=1 << 30, extent_bytes=4 << 20))


@pytest.fixture
def running(wished: MachineSpec, bare: State) -> State:
    return after(plan.plan_create(wished, bare), bare)


@pytest.fixture
def kept(wished: MachineSpec, running: State) -> State:
    return after(plan_snapshot.plan_take(wished, running, "before"), running)


def test_a_running_machines_root_is_kept_by_one_step_that_is_not_repeated(wished: MachineSpec, running: State):
    made = plan_snapshot.plan_take(wished, running, "before")
    assert verbs(made) == ["volume-snapshot"]
    still = "running=yes" in made.steps[0].shown
    assert still is (wished.volume_group == "")  # LVM's device mapper holds it still by itself
    now = after(made, running)
    (there,) = plan_snapshot.snapshots_of(wished, now)
    assert (there.origin, there.root) == (wished.volume, wished.root_mark)
    assert there.path.removesuffix(".img").endswith("WEB-Dom-root.before")
    assert plan_snapshot.plan_take(wished, now, "before").steps == ()


def test_a_guest_that_writes_its_image_file_itself_is_to_be_stopped_first(spec: MachineSpec, bare: State):
    qemu = replace(spec, place=replace(spec.place, libvirt="qemu:///system"))
    running = after(plan.plan_create(spec, bare), bare)
    with pytest.raises(Refused, match="a copy of it now would be worthless"):
        plan_snapshot.plan_take(qemu, running, "before")


def test_a_strangers_volume_in_the_snapshots_place_is_left_alone(wished: MachineSpec, running: State):
    name = plan_snapshot.kept_as(wished, "before")
    state = running.having("volumes", name, Volume(name=name, path="/x", size_bytes=1))
    with pytest.raises(Refused, match="is no snapshot of WEB-Dom"):
        plan_snapshot.plan_take(wished, state, "before")
    assert plan_snapshot.plan_remove(wished, state, "before").steps == ()


def test_restoring_powers_off_brings_back_and_starts_again(wished: MachineSpec, kept: State):
    later = replace(wished, root_generation=2)
    made = plan_snapshot.plan_restore(later, kept, "before", run=True)
    assert verbs(made) == ["domain-stop", "volume-snapshot-restore", "domain-start"]
    (lost,) = [step.destroys for step in made.steps if step.destroys]
    assert lost == f"All that was written to {wished.volume} since before was taken is lost for good."
    assert "generation=2" in made.steps[1].shown
    done = after(made, kept)
    assert done.domains["WEB-Dom"].running
    assert done.volumes[wished.volume].root == later.root_mark
    assert plan_snapshot.plan_restore(later, done, "before", run=True).steps == ()
    assert plan.plan_start(later, done).steps == ()


def test_a_machine_renamed_since_is_called_by_its_new_name_in_the_old_root_too(wished: MachineSpec, kept: State):
    later, was = replace(wished, root_generation=2), replace(wished, name="Mail")
    made = plan_snapshot.plan_restore(later, kept, "before", run=True, was=was)
    assert [step.stage for step in made.steps] == ["stop", "restore", "tuneroot", "start"]
    assert '"old": "Mail"' in made.steps[2].shown.replace("\n", " ")
    state = kept
    for number, step in enumerate(made.steps, start=1):
        state = step.after(state)
        left = plan_snapshot.plan_restore(later, state, "before", run=True, was=was).steps
        assert [s.shown for s in left] == [s.shown for s in made.steps[number:]]
    xen = replace(later, place=replace(later.place, libvirt="xen:///system"))
    told = plan_snapshot.plan_restore(xen, kept, "before", run=False, was=replace(xen, name="Mail"))
    says = [item.title for item in told.items]
    assert "Inside, it calls itself Mail until its owner runs: hostnamectl hostname WEB-Dom" in says


def test_what_was_off_stays_off(wished: MachineSpec, kept: State):
    off = after(plan.plan_stop(wished, kept), kept)
    made = plan_snapshot.plan_restore(replace(wished, root_generation=2), off, "before", run=False)
    assert verbs(made) == ["volume-snapshot-restore"]


def test_stopped_after_any_step_a_restore_goes_on_with_what_is_left(wished: MachineSpec, kept: State):
    later, state = replace(wished, root_generation=2), kept
    steps = plan_snapshot.plan_restore(later, kept, "before", run=True).steps
    for number, step in enumerate(steps, start=1):
        state = step.after(state)
        left = plan_snapshot.plan_restore(later, state, "before", run=True).steps
        assert [s.shown for s in left] == [s.shown for s in steps[number:]]


def test_a_root_left_half_restored_is_restored_again_and_not_started(wished: MachineSpec, kept: State):
    later = replace(wished, root_generation=2)
    half = replace(kept.volumes[wished.volume], root="", tuned="", unfinished="restoring")
    state = after(plan.plan_stop(wished, kept), kept).having("volumes", wished.volume, half)
    assert verbs(plan_snapshot.plan_restore(later, state, "before", run=True))[0] == "volume-snapshot-restore"
    with pytest.raises(Refused, match="restoring it was begun"):
        plan.plan_start(later, state)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"percent": 100.0}, "ran full: what changed since can't be brought back"),
        ({"origin": "vg0/Other-root"}, "is missing on"),
        ({"machine": "another"}, "is missing on"),
        ({"root": ""}, "holds no finished root"),
        ({"unfinished": "copying"}, "holds no finished root"),
        ({"size_bytes": 300 * MIB}, "was taken of 300 MB"),
    ],
)
def test_what_cannot_be_brought_back_is_said_before_the_machine_is_stopped(
    change: dict, says: str, wished: MachineSpec, kept: State
):
    name = plan_snapshot.kept_as(wished, "before")
    state = kept.having("volumes", name, replace(kept.volumes[name], **change))
    with pytest.raises(Refused, match=says) as refused:
        plan_snapshot.plan_restore(replace(wished, root_generation=2), state, "before", run=True)
    assert refused.value.note.startswith("Nothing was changed.")


def test_removing_goes_by_what_was_recorded_and_names_what_is_lost(wished: MachineSpec, kept: State):
    name = plan_snapshot.kept_as(wished, "before")
    seen = kept.having("volumes", name, replace(kept.volumes[name], id="abc-uuid"))
    made = plan_snapshot.plan_remove(wished, seen, "before")
    assert verbs(made) == ["volume-remove"]
    assert "id=abc-uuid" in made.steps[0].shown
    assert made.steps[0].destroys.startswith(f"All that is on {name}")
    assert plan_snapshot.plan_remove(wished, after(made, seen), "before").steps == ()


@pytest.fixture
def small(group: MachineSpec, bare: State) -> State:
    """In a volume group, a snapshot with room for 64 MB of changes."""
    state = after(plan.plan_create(group, bare), bare)
    state = after(plan_snapshot.plan_take(group, state, "before", 64), state)
    return state.having("volumes", KEPT, replace(state.volumes[KEPT], room_bytes=64 * MIB, percent=75.0))


def test_a_thick_snapshot_gets_more_room_but_never_more_than_for_all(group: MachineSpec, small: State):
    made = plan_snapshot.plan_grow(group, small, "before", 128)
    assert "volume-grow name=vg0/WEB-Dom-root.before size_mib=128" in made.steps[0].shown
    assert plan_snapshot.plan_grow(group, after(made, small), "before", 128).steps == ()
    most = plan_snapshot.plan_grow(group, small, "before", 4096)
    assert "size_mib=260" in most.steps[0].shown  # 256 MB, a list of what changed, rounded up to extents


def test_without_room_in_the_group_the_sentence_says_what_to_free(group: MachineSpec, small: State):
    tight = small.having("places", "vg0", replace(small.places["vg0"], free_bytes=8 * MIB))
    with pytest.raises(Refused, match="needs 64 MB more, the volume group vg0 has 8 MB free"):
        plan_snapshot.plan_grow(group, tight, "before", 128)


def test_a_full_or_vanished_snapshot_is_not_grown(group: MachineSpec, small: State):
    full = small.having("volumes", KEPT, replace(small.volumes[KEPT], percent=100.0))
    assert plan_snapshot.plan_grow(group, full, "before", 128).steps == ()
    assert plan_snapshot.plan_grow(group, small.without("volumes", KEPT), "before", 128).steps == ()


def test_restoring_one_gives_the_others_room_for_all_that_is_overwritten(group: MachineSpec, small: State):
    later = f"{ROOT}.later"
    state = small.having("volumes", later, replace(small.volumes[KEPT], name=later, path=f"/dev/{later}"))
    made = plan_snapshot.plan_restore(replace(group, root_generation=2), state, "before", run=True)
    assert verbs(made) == ["domain-stop", "volume-grow", "volume-snapshot-restore", "domain-start"]
    assert f"name={later} size_mib=260" in made.steps[1].shown


def test_a_root_that_has_grown_since_is_filled_before_it_starts(spec: MachineSpec, bare: State):
    state = after(plan.plan_create(spec, bare), bare)
    state = after(plan_snapshot.plan_take(spec, state, "before"), state)
    name = plan_snapshot.kept_as(spec, "before")
    state = state.having("volumes", name, replace(state.volumes[name], filled_bytes=256 * MIB))
    grown = replace(state.volumes[spec.volume], size_bytes=512 * MIB, filled_bytes=512 * MIB)
    later = replace(spec, root_mib=512, root_generation=2)
    made = plan_snapshot.plan_restore(later, state.having("volumes", spec.volume, grown), "before", run=True)
    assert verbs(made) == ["domain-stop", "volume-snapshot-restore", "fs-grow", "domain-start"]
    assert plan_snapshot.plan_restore(later, after(made, state), "before", run=True).steps == ()
