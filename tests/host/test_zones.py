"""Zones for real: a bridge, its dnsmasq and a machine's lease, in a network namespace of their own."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from audit.log import Actor
from audit.models import Entry
from dom0 import files, network
from dom0.dnsmasq import service
from dom0.errors import Refused
from dom0.host import HostConfig
from dom0.members import zone_members
from hosts import work
from hosts.models import Job
from hosts.services import job_approve
from tests.host.zone_world import MAC, alive, carry_out, lease, look, make, plug_in, resolve, run, tell, until, zone
from zones import plan, services
from zones.models import Zone

pytestmark = pytest.mark.host


def test_a_zone_is_made_and_planning_again_finds_nothing_to_do(dom0: HostConfig) -> None:
    spec = zone(dom0)
    make(spec, dom0)
    state = look(spec, dom0)
    assert plan.present(spec, state).steps == ()
    assert state.links["xen-br1"].addresses == ("10.10.1.1/24",)
    assert all(member.key in state.members for member in zone_members("xen-br1", "10.10.1.0/24"))
    assert "inet6" not in run("ip", "address", "show", "dev", "xen-br1")


def test_a_known_machine_gets_its_address_router_and_names(dom0: HostConfig) -> None:
    spec = zone(dom0)
    make(spec, dom0)
    tell(spec, "Common", MAC, "10.10.1.2")
    plug_in(spec)
    assert lease(dom0).split() == ["10.10.1.2", "10.10.1.1", "10.10.1.1", "fulup.internal", "common"]
    assert "10.10.1.2" in resolve("Common.fulup.internal")
    assert "NXDOMAIN" in resolve("nobody.fulup.internal")


def test_a_machine_nobody_told_it_about_gets_nothing(dom0: HostConfig) -> None:
    spec = zone(dom0)
    make(spec, dom0)
    plug_in(spec, mac="aa:bb:cc:dd:ee:ff")
    assert lease(dom0, tries=3) == ""


def test_dnsmasq_runs_without_root_and_answers_on_the_bridge_alone(dom0: HostConfig) -> None:
    spec = zone(dom0)
    make(spec, dom0)
    pid = Path(spec.files.pid).read_text().strip()
    uids = next(line for line in Path("/proc", pid, "status").read_text().splitlines() if line.startswith("Uid:"))
    assert set(uids.split()[1:]) == {"65534"}
    listening = run("ss", "--no-header", "--listening", "--numeric", "--tcp", "--udp")
    addresses = {line.split()[4] for line in listening.splitlines()}
    assert addresses == {"10.10.1.1%xen-br1:53", "10.10.1.1:53", "0.0.0.0%xen-br1:67"} & addresses
    assert any(a.endswith(":53") for a in addresses)


def test_other_settings_restart_it_and_a_killed_one_is_started_again(dom0: HostConfig) -> None:
    spec = zone(dom0)
    make(spec, dom0)
    first = Path(spec.files.pid).read_text()
    make(replace(spec, domain="other.internal"), dom0)
    second = Path(spec.files.pid).read_text()
    assert second != first
    os.kill(int(second), 9)
    assert until(lambda: service("zFulup") not in look(spec, dom0).services)
    make(spec, dom0)
    assert plan.present(spec, look(spec, dom0)).steps == ()


def test_a_process_that_only_stands_in_the_pid_file_is_not_taken_for_dnsmasq(dom0: HostConfig) -> None:
    spec = zone(dom0)
    files.write_atomic(spec.files.pid, f"{os.getpid()}\n")
    assert look(spec, dom0).services == {}
    assert "does not run" in network.dnsmasq_stop(dom0, {"zone": "zFulup"}, "")


def test_a_bridge_of_somebody_else_is_left_as_it_is(dom0: HostConfig) -> None:
    spec = zone(dom0)
    run("ip", "link", "add", "xen-br1", "type", "bridge")
    before = run("ip", "-o", "link", "show", "dev", "xen-br1")
    with pytest.raises(Refused):
        make(spec, dom0)
    state = look(spec, dom0)
    carry_out(plan.absent(spec, state), state, dom0)
    assert run("ip", "-o", "link", "show", "dev", "xen-br1") == before


def test_a_bridge_with_a_machine_on_it_is_not_deleted(dom0: HostConfig) -> None:
    spec = zone(dom0)
    make(spec, dom0)
    plug_in(spec)
    with pytest.raises(Refused, match="fr1 is still attached"):
        plan.absent(spec, look(spec, dom0))


def test_deleting_leaves_nothing(dom0: HostConfig) -> None:
    spec = zone(dom0)
    make(spec, dom0)
    pid = Path(spec.files.pid).read_text().strip()
    state = look(spec, dom0)
    carry_out(plan.absent(spec, state), state, dom0)
    assert plan.absent(spec, look(spec, dom0)).steps == ()
    assert set(network.links({network.ALL})) == {"lo"}
    assert not alive(pid)
    left = {p for room in (dom0.state, dom0.run) for p in Path(room).rglob("*") if p.is_file()}
    assert left == set()
    assert "10.10.1.0/24" not in run("ipset", "save")


@pytest.mark.django_db
def test_a_zone_lives_and_ends_by_its_jobs(host_file: HostConfig, host, fulup) -> None:
    """Asked for, made, found to be so already, changed, mended, deleted: all by the worker's own loop."""
    actor = Actor(id=fulup.pk, name="fulup")

    def ends(job: Job) -> str:
        work.run(job.pk)
        job.refresh_from_db()
        return f"{job.state} {job.message}".strip()

    assert ends(services.zone_create(actor, host=host, name="zFulup", gateway="10.10.1.1", approved=True)) == "done"
    zone = Zone.objects.get()
    assert zone.applied_at is not None
    assert ends(services.zone_apply(actor, zone)) == "nothing"
    changed = services.zone_change(actor, zone, external=None, domain="fulup.internal")
    assert ends(changed) == "planned"
    job_approve(actor, changed, changed.digest)
    assert ends(changed) == "done"
    run("ip", "address", "flush", "dev", zone.bridge)
    assert ends(services.zone_apply(actor, zone, approved=True)) == "done"
    assert network.links({zone.bridge})[zone.bridge].addresses == ("10.10.1.1/24",)
    assert ends(services.zone_delete(actor, zone, approved=True)) == "done"
    assert not Zone.objects.exists()
    assert set(network.links({network.ALL})) == {"lo"}
    commands = Entry.objects.filter(action="zone.delete", outcome="done").latest("seq").data["commands"]
    assert "ip link delete xen-br1 type bridge" in [each["command"] for each in commands]


@pytest.mark.django_db
def test_a_bridge_that_is_there_refuses_the_job_and_the_zone_can_move(host_file: HostConfig, host, fulup) -> None:
    actor = Actor(id=fulup.pk, name="fulup")
    run("ip", "link", "add", "xen-br1", "type", "bridge")
    job = services.zone_create(actor, host=host, name="zFulup", gateway="10.10.1.1", approved=True)
    work.run(job.pk)
    job.refresh_from_db()
    assert (job.state, "xen-br1 already" in job.message, "another bridge" in job.note) == ("refused", True, True)
    zone = Zone.objects.get()
    moved = services.zone_change(actor, zone, external=None, domain="", bridge="xen-br7", approved=True)
    work.run(moved.pk)
    moved.refresh_from_db()
    assert moved.state == "done", moved.message


@pytest.mark.django_db
def test_a_route_that_came_after_the_wish_refuses_the_job_and_nothing_is_made(
    host_file: HostConfig, host, fulup
) -> None:
    """Looked at when the job is planned: what the watcher had not seen yet, too."""
    run("ip", "link", "add", "eth9", "type", "bridge")
    run("ip", "address", "add", "10.9.0.2/24", "dev", "eth9")
    run("ip", "link", "set", "eth9", "up")
    run("ip", "route", "add", "default", "via", "10.9.0.1")
    run("ip", "route", "add", "blackhole", "10.0.0.0/8")
    actor = Actor(id=fulup.pk, name="fulup")
    for way, state in (("via 10.9.0.1 dev eth9", "refused"), ("", "done")):
        if way:
            run("ip", "route", "add", "10.10.0.0/16", *way.split())
        else:
            run("ip", "route", "del", "10.10.0.0/16")
            Zone.objects.all().delete()
        job = services.zone_create(actor, host=host, name="zFulup", gateway="10.10.1.1", approved=True)
        work.run(job.pk)
        job.refresh_from_db()
        assert job.state == state, job.message
        assert (f"a route 10.10.0.0/16 {way}, which overlaps 10.10.1.0/24" in job.message) is bool(way)
        assert ("xen-br1" in network.links({network.ALL})) is not bool(way)


def test_routes_are_read_as_they_are(dom0: HostConfig) -> None:
    run("ip", "link", "add", "eth9", "type", "bridge")
    run("ip", "address", "add", "10.9.0.2/24", "dev", "eth9")
    run("ip", "link", "set", "eth9", "up")
    run("ip", "route", "add", "default", "via", "10.9.0.1")
    run("ip", "route", "add", "10.20.0.7", "dev", "eth9")
    run("ip", "route", "add", "10.30.0.0/16", "nexthop", "via", "10.9.0.3", "nexthop", "via", "10.9.0.4")
    run("ip", "route", "add", "unreachable", "10.40.0.0/16")
    assert sorted(network.routes({network.ALL})) == [
        "0.0.0.0/0 via 10.9.0.1 dev eth9",
        "10.20.0.7/32 dev eth9",
        "10.30.0.0/16 via 10.9.0.3 dev eth9",
        "10.40.0.0/16 unreachable",
        "10.9.0.0/24 dev eth9",
    ]
