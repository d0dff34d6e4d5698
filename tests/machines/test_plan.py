"""Plans as data: golden files of what the page shows, and what every plan must keep to."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dom0.errors import Refused
from dom0.plan import Plan
from dom0.state import Domain, State, Volume
from dom0.steps import Command, Hand, hidden, secret
from machines import definition, plan, plan_run, render
from machines.specs import ROOT_HASH, MachineSpec

GOLDEN = Path(__file__).parents[1] / "golden" / "machines"
Planner = Callable[[MachineSpec, State], Plan]


def text_of(made: Plan) -> str:
    """A plan as a person reads it."""
    parts = []
    for item in made.items:
        shown = getattr(item, "shown", "(already so)")
        destroys = getattr(item, "destroys", "")
        parts.append(f"# {item.stage}: {item.title}\n{destroys and f'# {destroys}' + chr(10)}{shown}\n")
    return "\n".join(parts)


def after(made: Plan, state: State) -> State:
    """The host when every step has done what it says."""
    for step in made.steps:
        state = step.after(state)
    return state


def stages(made: Plan) -> list[str]:
    return [item.stage for item in made.items]


def compare(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text(), f"{path} differs; GOLDEN=write rewrites it for you to look at"


@pytest.fixture
def running(spec: MachineSpec, bare: State) -> State:
    return after(plan.plan_create(spec, bare), bare)


@pytest.fixture
def off(spec: MachineSpec, running: State) -> State:
    return after(plan.plan_stop(spec, running), running)


@pytest.fixture
def paused(spec: MachineSpec, running: State) -> State:
    return after(plan_run.plan_pause(spec, running), running)


def reboot(spec: MachineSpec, state: State) -> Plan:
    return plan.plan_reboot(spec, state, "job-7")


def force_off(spec: MachineSpec, state: State) -> Plan:
    return plan.plan_stop(spec, state, force=True)


def other_keys(spec: MachineSpec, state: State) -> Plan:
    return plan.plan_key(replace(spec, keys=("ssh-rsa AAAAB3", "ssh-ed25519 AAAAC3")), state, "job-7")


def same_keys(spec: MachineSpec, state: State) -> Plan:
    return plan.plan_key(spec, state, "job-8")


def new_password(spec: MachineSpec, state: State) -> Plan:
    return plan.plan_password(replace(spec, password="c0ffee"), state)


PLANS: dict[str, tuple[Planner, str]] = {
    "create": (plan.plan_create, "bare"),
    "start": (plan.plan_start, "off"),
    "stop": (plan.plan_stop, "running"),
    "force-off": (force_off, "running"),
    "force-off-paused": (force_off, "paused"),
    "pause": (plan_run.plan_pause, "running"),
    "resume": (plan_run.plan_resume, "paused"),
    "stop-paused": (plan.plan_stop, "paused"),
    "reboot": (reboot, "running"),
    "key": (other_keys, "running"),
    "password": (new_password, "off"),
    "delete": (plan.plan_delete, "running"),
}


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_reads_as_in_its_golden_file(name: str, spec: MachineSpec, request: pytest.FixtureRequest):
    planner, state = PLANS[name]
    compare(f"{name}.txt", text_of(planner(spec, request.getfixturevalue(state))))


@pytest.mark.parametrize("name", PLANS)
def test_planning_again_after_applying_gives_an_empty_plan(
    name: str, spec: MachineSpec, request: pytest.FixtureRequest
):
    planner, name_of_state = PLANS[name]
    state = request.getfixturevalue(name_of_state)
    made = planner(spec, state)
    assert made.steps
    assert planner(spec, after(made, state)).steps == ()


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_stopped_after_any_step_goes_on_with_exactly_what_is_left(
    name: str, spec: MachineSpec, request: pytest.FixtureRequest
):
    planner, name_of_state = PLANS[name]
    state = request.getfixturevalue(name_of_state)
    steps = planner(spec, state).steps
    for number, step in enumerate(steps, start=1):
        state = step.after(state)
        left = planner(spec, state).steps
        # A step that leaves no trace to look at may be done once more; it does no harm twice.
        assert left in (steps[number:], steps[number - 1 :] if not step.effect else None), f"after {step.title}"


@pytest.mark.parametrize("name", PLANS)
def test_every_step_that_overwrites_or_removes_looks_again_right_before(
    name: str, spec: MachineSpec, request: pytest.FixtureRequest
):
    planner, state = PLANS[name]
    for step in planner(spec, request.getfixturevalue(state)).steps:
        heavy = {"volume-create", "volume-remove", "root-install", "domain-undefine", "domain-define"}
        if step.stage == "tuneroot" or (isinstance(step.action, Hand) and step.action.verb in heavy):
            assert step.relies_on, step.title


def test_the_first_machine_of_an_image_has_its_golden_filesystem_made(spec: MachineSpec, bare: State):
    made = plan.plan_create(spec, bare.without("goldens", spec.image.digest))
    assert stages(made)[0] == "image"
    assert f"digest={spec.image.digest}" in made.steps[0].shown


def test_the_operator_sees_the_seeds_stages_in_the_seeds_order(spec: MachineSpec, bare: State):
    seen = list(dict.fromkeys(stages(plan.plan_create(spec, bare))))
    assert seen == ["lvmcreate", "fscreate", "installroot", "tuneroot", "updateether", "createvmconf", "start"]


def test_a_debian_machine_is_tuned_by_its_own_family(debian: MachineSpec):
    compare("tune-debian.json", render.tuning(debian) + "\n")


def test_a_secret_stands_in_a_plan_as_stars_and_its_name_alone_makes_the_digest(spec: MachineSpec, bare: State):
    made = plan.plan_create(replace(spec, password="c0ffee"), bare)
    tune = next(s for s in made.steps if s.stage == "tuneroot")
    assert "****" in tune.shown
    assert ROOT_HASH not in tune.shown
    assert ROOT_HASH not in hidden(text_of(made))
    assert made.digest != plan.plan_create(spec, bare).digest


def test_changing_the_keys_leaves_the_password_and_the_other_way_round(spec: MachineSpec, running: State):
    state = after(new_password(spec, running), running)
    state = after(other_keys(spec, state), state)
    base, keys, password = state.volumes["WEB-Dom-root"].tuned.split("/")
    assert password == "c0ffee"
    assert keys == f"{render.keys_digest(replace(spec, keys=('ssh-rsa AAAAB3', 'ssh-ed25519 AAAAC3')))}-job-7"
    assert base == render.tuned(spec).base


def test_a_key_line_cannot_bring_a_second_line_along(spec: MachineSpec):
    assert render.keys_text(replace(spec, keys=("ssh-rsa AAAA\nssh-rsa BBBB",))) == "ssh-rsa AAAA ssh-rsa BBBB\n"


# What is refused, with nothing changed


def volume(spec: MachineSpec, machine: str) -> Volume:
    return Volume(name=spec.volume, path=spec.volume_path, size_bytes=1 << 20, machine=machine)


@pytest.mark.parametrize(("machine", "says"), [("", "not made by Fridu"), ("0" * 32, "another machine")])
@pytest.mark.parametrize("planner", [plan.plan_create, plan.plan_start, plan.plan_stop, reboot, same_keys])
def test_it_refuses_a_volume_of_that_name_without_our_mark(
    planner: Planner, machine: str, says: str, spec: MachineSpec, bare: State
):
    with pytest.raises(Refused, match=says) as refused:
        planner(spec, bare.having("volumes", spec.volume, volume(spec, machine)))
    assert "WEB-Dom-root" in refused.value.message
    assert "another name" in refused.value.note


@pytest.mark.parametrize("planner", [plan.plan_create, plan.plan_start, plan.plan_stop, reboot, same_keys])
def test_it_refuses_a_domain_of_that_name_with_another_uuid(planner: Planner, spec: MachineSpec, bare: State):
    with pytest.raises(Refused, match="another machine called WEB-Dom"):
        planner(spec, bare.having("domains", spec.name, Domain(name=spec.name, uuid="1" * 32, running=True)))


def test_deleting_leaves_strangers_of_the_same_name_alone(spec: MachineSpec, bare: State):
    state = bare.having("domains", spec.name, Domain(name=spec.name, uuid="1" * 32, running=True))
    made = plan.plan_delete(spec, state.having("volumes", spec.volume, volume(spec, "")))
    assert made.steps == ()
    assert [item.title for item in made.items] == [
        "The domain WEB-Dom on the host is another one and stays",
        "/var/lib/fridu/volumes/WEB-Dom-root.img was not made for this machine and stays",
    ]


def test_it_refuses_a_root_too_small_for_the_image(spec: MachineSpec, bare: State):
    with pytest.raises(Refused, match="needs a root of 32 MB"):
        plan.plan_create(replace(spec, root_mib=31), bare)


def test_it_refuses_a_root_smaller_than_what_the_golden_filesystem_turned_out_to_take(spec: MachineSpec, bare: State):
    large = replace(bare.goldens[spec.image.digest], size_bytes=(300 << 20) + 1)
    with pytest.raises(Refused, match="needs a root of 301 MB"):
        plan.plan_create(spec, bare.having("goldens", spec.image.digest, large))


def test_it_refuses_a_root_larger_than_the_room_for_volumes(spec: MachineSpec, bare: State):
    with pytest.raises(Refused, match="255 MB are free"):
        plan.plan_create(spec, replace(bare, free_bytes=255 << 20))


def test_a_volume_that_is_there_already_needs_no_room(spec: MachineSpec, running: State):
    assert plan.plan_create(spec, replace(running, free_bytes=0, free_memory_mib=0)).steps == ()


def test_it_refuses_an_image_whose_archive_is_missing(spec: MachineSpec, bare: State):
    state = bare.without("goldens", spec.image.digest).without("archives", spec.image.archive)
    with pytest.raises(Refused, match=r"tiny\.tar\.gz"):
        plan.plan_create(spec, state)


@pytest.mark.parametrize(("planner", "state"), [(plan.plan_create, "bare"), (plan.plan_start, "off")])
def test_it_refuses_more_memory_than_is_free(
    planner: Planner, state: str, spec: MachineSpec, request: pytest.FixtureRequest
):
    with pytest.raises(Refused, match="127 MB are free"):
        planner(spec, replace(request.getfixturevalue(state), free_memory_mib=127))


@pytest.mark.parametrize(("planner", "state"), [(plan.plan_create, "bare"), (plan.plan_start, "off")])
def test_it_refuses_a_zone_that_is_not_on_the_host(
    planner: Planner, state: str, spec: MachineSpec, request: pytest.FixtureRequest
):
    with pytest.raises(Refused, match="xen-br2") as refused:
        planner(spec, request.getfixturevalue(state).without("links", "xen-br2"))
    assert "Apply zone zDominig" in refused.value.note


@pytest.mark.parametrize("planner", [plan.plan_start, reboot, same_keys, plan.plan_password])
def test_it_refuses_a_machine_whose_creation_was_never_finished(planner: Planner, spec: MachineSpec, bare: State):
    made = plan.plan_create(spec, bare)
    state = bare
    for step in made.steps[:2]:  # volume and root, untuned
        state = step.after(state)
    with pytest.raises(Refused, match="never finished"):
        planner(spec, state)
    with pytest.raises(Refused, match="missing"):
        planner(spec, bare)


@pytest.mark.parametrize("planner", [same_keys, plan.plan_password])
@pytest.mark.parametrize("libvirt", ["xen:///system", "qemu:///system"])
def test_under_xen_and_qemu_root_is_let_in_by_confined_programs_while_the_machine_is_off(
    libvirt: str, planner: Planner, spec: MachineSpec, running: State, off: State
):
    other = replace(spec, password="another", place=replace(spec.place, libvirt=libvirt))
    with pytest.raises(Refused, match="runs: nobody else can write") as refused:
        planner(other, running)
    assert "Log in on its console, or stop it first, then set it." in refused.value.note
    made = planner(other, off)
    (step,) = made.steps
    assert isinstance(step.action, Command)
    assert step.action.argv[-2:] == ("dom0.rooted", spec.volume_path)
    assert ("domains", spec.name) in step.relies_on
    assert planner(other, after(made, off)).steps == ()


def test_the_hash_reaches_a_volume_that_is_not_mounted_by_stdin_alone(spec: MachineSpec, off: State):
    xen = replace(spec, password="another", place=replace(spec.place, libvirt="xen:///system"))
    (step,) = plan.plan_password(xen, off).steps
    assert isinstance(step.action, Command)
    assert secret(ROOT_HASH) in step.action.stdin
    assert ROOT_HASH not in " ".join(step.action.argv)
    assert "****" in step.shown


# What is mended


def test_starting_brings_back_membership_addresses_and_definition_that_were_lost(spec: MachineSpec, off: State):
    state = replace(off, members={}, files={}, domains={})
    assert stages(plan.plan_start(spec, state)) == ["updateether"] * 4 + ["createvmconf", "createvmconf", "start"]


def test_a_machine_given_more_memory_is_defined_anew_under_its_own_uuid(spec: MachineSpec, off: State):
    larger = replace(spec, memory_mib=192)
    made = plan.plan_start(larger, off)
    assert stages(made) == ["updateether", "createvmconf", "createvmconf", "start"]
    assert spec.uuid in made.steps[0].shown


def test_a_root_without_its_mark_is_installed_and_tuned_anew(spec: MachineSpec, running: State):
    half = replace(running.volumes[spec.volume], root="", tuned="")
    made = plan.plan_create(spec, running.having("volumes", spec.volume, half))
    assert [s.stage for s in made.steps] == ["installroot", "tuneroot"]


def test_a_higher_root_generation_installs_the_root_anew(spec: MachineSpec, off: State):
    made = plan.plan_create(replace(spec, root_generation=2), off)
    assert [s.stage for s in made.steps][:2] == ["installroot", "tuneroot"]


def test_a_machine_that_was_restarted_by_this_job_is_not_restarted_again(spec: MachineSpec, running: State):
    state = after(reboot(spec, running), running)
    assert reboot(spec, state).steps == ()
    assert plan.plan_reboot(spec, state, "job-8").steps


# The definition


def test_the_definition_is_the_one_that_was_proved_with_its_digest_added(spec: MachineSpec):
    proved = (GOLDEN.parent / "domain-lxc.xml").read_text()
    digest = f'      <fridu:definition digest="{definition.definition_digest(spec)}"/>\n'
    assert digest in definition.domain_xml(spec)
    assert definition.domain_xml(spec).replace(digest, "") == proved


def test_the_definitions_digest_changes_with_anything_in_it(spec: MachineSpec):
    digests = {
        definition.definition_digest(replace(spec, **change))
        for change in ({}, {"memory_mib": 1}, {"vcpus": 2}, {"mac": "aa:bb:cc:0a:02:03"}, {"uid_base": 65_536 * 99})
    }
    assert len(digests) == 5


def test_the_same_keys_asked_for_again_are_written_again(spec: MachineSpec, running: State):
    once = after(same_keys(spec, running), running)
    assert same_keys(spec, once).steps == ()
    assert stages(plan.plan_key(spec, once, "job-9")) == ["tuneroot"]
