"""Plans of machines with swap and log volumes, in a volume group or as image files."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dom0.errors import Refused
from dom0.plan import Plan
from dom0.state import Place, State, Volume
from machines import plan
from machines.specs import MachineSpec

NAMES = ("vg0/WEB-Dom-root", "vg0/WEB-Dom-swap", "vg0/WEB-Dom-log")


@pytest.fixture
def wished(spec: MachineSpec) -> MachineSpec:
    return replace(spec, volume_group="vg0", root_mib=254, swap_mib=64, log_mib=100)


@pytest.fixture
def host(bare: State) -> State:
    group = Place(name="vg0", size_bytes=1 << 30, free_bytes=420 << 20, extent_bytes=4 << 20)
    return bare.having("places", "vg0", group)


def after(made: Plan, state: State) -> State:
    for step in made.steps:
        state = step.after(state)
    return state


def shown(made: Plan, stage: str) -> list[str]:
    return [step.shown for step in made.steps if step.stage == stage]


def test_each_wished_volume_is_made_and_all_but_the_root_formatted(wished: MachineSpec, host: State):
    made = plan.plan_create(wished, host)
    assert [line.split()[2] for line in shown(made, "lvmcreate")] == [f"name={name}" for name in NAMES]
    formats = shown(made, "fscreate")
    assert [line.split()[2] + " " + line.split()[4] for line in formats] == [
        "volume=vg0/WEB-Dom-swap type=swap",
        "volume=vg0/WEB-Dom-log type=ext4",
    ]
    assert f"volume={NAMES[0]}" in shown(made, "installroot")[0]


def test_sizes_are_foretold_as_the_group_rounds_them_and_nothing_is_left_to_do(wished: MachineSpec, host: State):
    state = after(plan.plan_create(wished, host), host)
    assert [state.volumes[name].size_bytes >> 20 for name in NAMES] == [256, 64, 100]
    assert state.volumes[NAMES[0]].path == "/dev/vg0/WEB-Dom-root"
    assert plan.plan_create(wished, state).steps == ()


def test_stopped_after_any_step_it_goes_on_with_exactly_what_is_left(wished: MachineSpec, host: State):
    steps = plan.plan_create(wished, host).steps
    state = host
    for number, step in enumerate(steps, start=1):
        state = step.after(state)
        assert plan.plan_create(wished, state).steps == steps[number:], step.title


@pytest.mark.parametrize(("begun", "stage"), [("zeroing", "lvmcreate"), ("formatting", "fscreate")])
def test_what_was_begun_and_killed_is_done_again(wished: MachineSpec, host: State, begun: str, stage: str):
    state = after(plan.plan_create(wished, host), host)
    log = replace(state.volumes[NAMES[2]], unfinished=begun, content="" if begun == "zeroing" else "ext4")
    made = plan.plan_create(wished, state.having("volumes", NAMES[2], log))
    assert made.steps[0].stage == stage
    assert NAMES[2] in made.steps[0].shown


@pytest.mark.parametrize("begun", ["wiping", "restoring", "shrinking", "copying"])
@pytest.mark.parametrize("planner", [plan.plan_create, plan.plan_start])
def test_a_machine_with_a_volume_half_changed_never_starts(planner, wished: MachineSpec, host: State, begun: str):
    state = after(plan.plan_create(wished, host), host)
    half = replace(state.volumes[NAMES[0]], unfinished=begun)
    with pytest.raises(Refused, match=f"{begun} it was begun and never finished"):
        planner(wished, state.having("volumes", NAMES[0], half))


def test_deleting_removes_each_by_the_id_it_was_found_with_and_goes_on_with_a_wipe(wished: MachineSpec, host: State):
    state = after(plan.plan_create(wished, host), host)
    for number, name in enumerate(NAMES):
        found = replace(state.volumes[name], id=f"uuid-{number}", unfinished="wiping" if number == 1 else "")
        state = state.having("volumes", name, found)
    made = plan.plan_delete(replace(wished, log_mib=0), state)  # one it once had goes too
    removals = [line for line in shown(made, "lvmcreate") if "volume-remove" in line]
    assert [line.split()[-1] for line in removals] == ["id=uuid-0", "id=uuid-1", "id=uuid-2"]
    assert all(step.destroys for step in made.steps if step.stage == "lvmcreate")


def test_a_group_that_is_missing_or_full_is_said_before_anything_is_made(wished: MachineSpec, host: State):
    with pytest.raises(Refused, match="volume group vg0 is missing"):
        plan.plan_create(wished, host.without("places", "vg0"))
    full = replace(host.places["vg0"], free_bytes=416 << 20)
    with pytest.raises(Refused, match="do not fit: 416 MB are free in the volume group vg0"):
        plan.plan_create(wished, host.having("places", "vg0", full))


def test_a_strangers_log_volume_is_refused_and_stays(wished: MachineSpec, host: State):
    stranger = Volume(name=NAMES[2], path=f"/dev/{NAMES[2]}", size_bytes=1 << 20)
    state = host.having("volumes", NAMES[2], stranger)
    with pytest.raises(Refused, match=r"WEB-Dom-log .* not made by Fridu"):
        plan.plan_create(wished, state)
    assert plan.plan_delete(wished, state).steps == ()


def test_without_a_group_they_are_image_files(wished: MachineSpec, bare: State):
    files = replace(wished, volume_group="")
    state = after(plan.plan_create(files, bare), bare)
    assert sorted(state.volumes) == ["WEB-Dom-log", "WEB-Dom-root", "WEB-Dom-swap"]
    assert state.volumes["WEB-Dom-log"].path == "/var/lib/fridu/volumes/WEB-Dom-log.img"
