"""Changing a machine, as plans: in one go, killed after any step, undone from anywhere, and refused beforehand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from dom0 import members
from dom0.errors import Refused
from dom0.plan import Already, Draft, Plan
from dom0.state import Domain, Link, Place, State, Volume
from machines import change_stages, definition, plan, settle
from machines.plan_change import looked_at, plan_change
from machines.specs import MIB, MachineSpec, ZoneSpec

FULUP = ZoneSpec(name="zFulup", bridge="xen-br1", gateway="10.10.1.1", domain="fulup.internal")
Edit = Callable[[MachineSpec], MachineSpec]


def after(made: Plan, state: State, steps: int | None = None) -> State:
    for step in made.steps[:steps]:
        state = step.after(state)
    return state


@pytest.fixture(params=["lxc", "xen"])
def was(request: pytest.FixtureRequest, spec: MachineSpec) -> MachineSpec:
    if request.param == "lxc":
        return spec
    place = replace(spec.place, libvirt="xen:///system")
    boot = replace(spec.boot, how="grub", kernel="/usr/lib/grub-xen/grub-x86_64-xen.bin")
    return replace(spec, place=place, volume_group="vg0", boot=boot, swap_mib=64, log_mib=64)


@pytest.fixture
def host(bare: State) -> State:
    group = Place(name="vg0", size_bytes=4 << 30, free_bytes=3 << 30, extent_bytes=4 << 20)
    other = Link(name="xen-br1", up=True, kind="bridge", addresses=("10.10.1.1/24",))
    return bare.having("places", "vg0", group).having("links", "xen-br1", other)


def built(was: MachineSpec, host: State) -> State:
    """The machine as it stands on the host, running, with one snapshot."""
    state = host
    for volume in was.volumes:
        made = Volume(
            name=volume.name,
            path=volume.path,
            size_bytes=volume.size_bytes,
            machine=was.uuid,
            content=volume.content,
            filled_bytes=volume.size_bytes,
        )
        if volume.kind == "root":
            made = replace(made, root=was.root_mark, tuned="b/k/p")
        state = state.having("volumes", volume.name, made)
    kept = replace(state.volumes[was.volume], name=f"{was.volume}.before", origin=was.volume)
    state = state.having("volumes", kept.name, kept)
    digest = definition.definition_digest(was)
    state = state.having(
        "domains", was.name, Domain(name=was.name, uuid=was.uuid, definition=digest, memory_mib=0, ceiling_mib=0)
    )
    draft = Draft(after(plan_change(was, was, state, on=False), state))
    settle.settle(was, draft)
    domain = replace(draft.state.domains[was.name], running=True, memory_mib=was.memory_mib, ceiling_mib=was.memory_mib)
    if was.place.lxc:
        domain = replace(domain, ceiling_mib=1 << 20)
    return draft.state.having("domains", was.name, domain)


@pytest.fixture
def running(was: MachineSpec, host: State, monkeypatch: pytest.MonkeyPatch) -> State:
    monkeypatch.setattr("machines.rules.refuse_without_kernel", lambda spec, state: None)
    return built(was, host)


EDITS: dict[str, Edit] = {
    "renamed": lambda s: replace(s, name="Post"),
    "moved": lambda s: replace(s, zone=FULUP, address="10.10.1.7"),
    "at another address": lambda s: replace(s, address="10.10.2.9"),
    "grown": lambda s: replace(s, root_mib=512),
    "with more memory": lambda s: replace(s, memory_mib=512),
    "with less memory": lambda s: replace(s, memory_mib=64),
    "with other swap": lambda s: replace(s, swap_mib=128),
    "with a log volume": lambda s: replace(s, log_mib=128),
    "all of it": lambda s: replace(
        s,
        name="Post",
        zone=FULUP,
        address="10.10.1.7",
        root_mib=512,
        memory_mib=256,
        vcpus=2,
        swap_mib=128,
        log_mib=256,
    ),
}


def settled(spec: MachineSpec, state: State) -> dict[str, object]:
    """All that the host has of the machine."""
    return {
        "volumes": {name: (v.size_bytes, v.machine, v.origin, v.content) for name, v in state.volumes.items()},
        "domains": {name: (d.uuid, d.running, d.definition) for name, d in state.domains.items()},
        "files": dict(state.files),
        "members": set(state.members),
    }


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_planned_again_nothing_is_left_to_do(edit: Edit, was: MachineSpec, running: State):
    spec = edit(was)
    made = plan_change(was, spec, running, on=True)
    assert made.steps
    end = after(made, running)
    assert plan_change(was, spec, end, on=True).steps == ()
    assert end.domains[spec.name].running


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_killed_after_any_step_it_ends_as_if_in_one_go(edit: Edit, was: MachineSpec, running: State):
    spec = edit(was)
    made = plan_change(was, spec, running, on=True)
    whole = settled(spec, after(made, running))
    for steps in range(len(made.steps)):
        half = after(made, running, steps)
        rest = plan_change(was, spec, half, on=True)
        end = after(rest, half)
        assert settled(spec, end) == whole, f"after {steps} steps"
        assert plan_change(was, spec, end, on=True).steps == (), f"after {steps} steps"


@pytest.mark.parametrize("edit", [EDITS["renamed"], EDITS["moved"], EDITS["at another address"], EDITS["all of it"]])
def test_undone_after_any_step_nothing_is_left_of_the_try(edit: Edit, was: MachineSpec, running: State):
    spec = edit(was)
    made = plan_change(was, spec, running, on=True)
    for steps in range(len(made.steps) + 1):
        half = after(made, running, steps)
        end = after(plan_change(spec, was, half, on=True, back=True), half)
        assert set(end.domains) == {was.name}, f"after {steps} steps"
        assert set(end.members) == set(running.members)
        assert {p: t for p, t in end.files.items() if "Post" in p or "Post" in t} == {}
        assert [name for name in end.volumes if "Post" in name] == []
        assert end.domains[was.name].running
        assert plan_change(spec, was, end, on=True, back=True).steps == ()


def test_renaming_takes_snapshots_along_and_starts_it_under_its_new_name(was: MachineSpec, running: State):
    spec = replace(was, name="Post")
    end = after(plan_change(was, spec, running, on=True), running)
    assert set(end.volumes) == {*(volume.name for volume in spec.volumes), f"{spec.volume}.before"}
    assert end.volumes[f"{spec.volume}.before"].origin == spec.volume
    assert end.volumes[spec.volume].path == spec.volume_path
    assert set(end.domains) == {"Post"}
    assert not [path for path in end.files if "WEB-Dom" in path]


def test_one_that_is_off_stays_off(was: MachineSpec, running: State):
    off = after(plan.plan_stop(was, running), running)
    spec = replace(was, name="Post", autostart=False)
    made = plan_change(replace(was, autostart=False), spec, off, on=False)
    assert not {"stop", "start"} & {step.stage for step in made.steps}
    assert not after(made, off).domains["Post"].running


def test_moving_leaves_the_former_zone_and_enters_the_new_one_before_it_starts(was: MachineSpec, running: State):
    spec = replace(was, zone=FULUP, address="10.10.1.7")
    made = plan_change(was, spec, running, on=True)
    stages = [step.stage for step in made.steps]
    assert stages[0] == "stop"
    assert stages[-1] == "start"
    end = after(made, running)
    assert {m.key for m in spec.members} == set(end.members)
    assert f"{spec.place.state}/ethers/zFulup/WEB-Dom" in end.files
    assert not [path for path in end.files if "/zDominig/" in path]


def test_growing_neither_stops_it_nor_touches_anything_else(was: MachineSpec, running: State):
    made = plan_change(was, replace(was, root_mib=512), running, on=True)
    verbs = [step.shown.split()[1] for step in made.steps]
    if was.place.lxc:
        assert verbs == ["volume-grow", "fs-grow"]
        assert "online=yes" in made.steps[1].shown
    else:
        assert verbs == ["volume-grow"]
        said = [item.title for item in made.items if isinstance(item, Already)]
        assert any("its owner runs this inside: resize2fs /dev/xvda" in title for title in said)


def test_what_a_guest_did_not_grow_itself_is_grown_when_it_stops(was: MachineSpec, running: State):
    spec = replace(was, place=replace(was.place, grows_mounted=False), root_mib=512)
    grown = after(plan_change(was, spec, running, on=True), running)
    assert change_stages.left_over(grown.volumes[spec.volume])
    for planned in (plan.plan_stop(spec, grown), plan.plan_reboot(spec, grown, "job-1")):
        shown = [step.shown for step in planned.steps]
        (fill,) = [line for line in shown if "fs-grow" in line]
        assert "online" not in fill
        assert f"uid={spec.uid_base + 65_534}" in fill
    off = after(plan.plan_stop(spec, grown), grown)
    assert not change_stages.left_over(off.volumes[spec.volume])


def test_memory_is_given_at_once_or_said_to_hold_from_the_next_start(was: MachineSpec, running: State):
    more = plan_change(was, replace(was, memory_mib=512), running, on=True)
    live = [step for step in more.steps if "domain-memory" in step.shown]
    said = [item.title for item in more.items if "from its next start" in item.title]
    assert (bool(live), bool(said)) == ((True, False) if was.place.lxc else (False, True))
    less = plan_change(was, replace(was, memory_mib=64), running, on=True)
    assert any("mib=64" in step.shown for step in less.steps if "domain-memory" in step.shown)


def test_what_a_hypervisor_counts_besides_is_no_difference(was: MachineSpec, running: State):
    other = running.having("domains", was.name, replace(running.domains[was.name], memory_mib=was.memory_mib + 3))
    made = plan_change(was, replace(was, vcpus=2), other, on=True)
    assert not [step for step in made.steps if "domain-memory" in step.shown]
    less = replace(was, memory_mib=64)
    half = after(plan_change(was, less, other, on=True), other)
    near = half.having("domains", was.name, replace(half.domains[was.name], memory_mib=64 + (not was.place.lxc) * 3))
    assert plan_change(was, less, near, on=True).steps == ()


def test_a_swap_space_is_made_anew_with_the_machine_off(was: MachineSpec, running: State):
    spec = replace(was, swap_mib=128)
    made = plan_change(was, spec, running, on=True)
    lines = [step.shown for step in made.steps]
    assert lines[0].startswith("fridu-hand domain-stop")
    assert lines[-1].startswith("fridu-hand domain-start")
    assert not [step.destroys for step in made.steps if step.destroys], "swap holds nothing anybody misses"
    assert after(made, running).volumes[spec.volume_names[1]].size_bytes == 128 * MIB


def test_a_log_volume_that_goes_is_named_as_lost(was: MachineSpec, running: State):
    with_log = replace(was, log_mib=64)
    state = after(plan_change(was, with_log, running, on=True), running)
    made = plan_change(with_log, replace(was, log_mib=0), state, on=True)
    assert any("lost for good" in step.destroys for step in made.steps)


def refused(was: MachineSpec, spec: MachineSpec, state: State) -> Refused:
    with pytest.raises(Refused) as caught:
        plan_change(was, spec, state, on=True)
    assert "Nothing was changed" in caught.value.note
    return caught.value


def test_it_refuses_what_can_be_known_beforehand(was: MachineSpec, running: State):
    assert "would be less" in refused(was, replace(was, root_mib=128), running).message
    assert "hardly more" in refused(was, replace(was, root_mib=264), running).message
    assert "MB are free" in refused(was, replace(was, root_mib=1 << 20), running).message
    assert "of memory more" in refused(was, replace(was, memory_mib=1 << 20), running).message
    gone = running.without("links", "xen-br1")
    assert "xen-br1" in refused(was, replace(was, zone=FULUP, address="10.10.1.7"), gone).message


def test_a_strangers_volume_or_domain_of_the_new_name_is_left_alone(was: MachineSpec, running: State):
    spec = replace(was, name="Post")
    theirs = Volume(name=spec.volume, path=spec.volume_path, size_bytes=MIB, machine="another")
    assert "belongs to another machine" in refused(was, spec, running.having("volumes", spec.volume, theirs)).message
    domain = Domain(name="Post", uuid="0b7e4a52-6d4c-4a53-9a3b-0f6a9c1f4e11")
    assert "another machine called Post" in refused(was, spec, running.having("domains", "Post", domain)).message


def test_a_paused_machine_is_not_powered_off_for_another_name(was: MachineSpec, running: State):
    paused = running.having("domains", was.name, replace(running.domains[was.name], paused=True))
    assert "is paused" in refused(was, replace(was, name="Post"), paused).message


def test_it_looks_at_both_names_and_every_member(was: MachineSpec):
    seen = looked_at(was, replace(was, name="Post", zone=FULUP, address="10.10.1.7"))
    assert seen["domains"] == ("WEB-Dom", "Post")
    assert seen["links"] == ("xen-br2", "xen-br1")
    assert seen["members"] == (members.EVERY_VIF,)
    assert {*was.volume_names, *replace(was, name="Post").volume_names} <= set(seen["volumes"])  # type: ignore[call-overload]


def test_inside_only_the_lines_its_owner_left_alone_are_changed(spec: MachineSpec, host: State):
    running = built(spec, host)
    made = plan_change(spec, replace(spec, name="Post"), running, on=True)
    (tuned,) = [step for step in made.steps if step.stage == "tuneroot"]
    assert '"old": "127.0.1.1 WEB-Dom.dominig.internal WEB-Dom"' in tuned.shown
    assert '"new": "127.0.1.1 Post.dominig.internal Post"' in tuned.shown
    assert '"files"' not in tuned.shown
