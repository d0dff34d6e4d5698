"""A zone's subnet is changed for real: killed at any step it goes on, and its machine hears of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from django.utils import timezone

from audit.log import Actor
from dom0 import execute, network, runner
from dom0.errors import FriduError
from dom0.host import HostConfig
from dom0.members import EVERY_INSIDE, EVERY_NET, EVERY_VIF, create_sets
from firewall.models import PublishedService, ZoneRestriction
from hosts import work
from hosts.models import Job
from hosts.services import job_go_on
from machines.expected import Entry, entries_keep
from machines.models import Expected, Machine
from tests.host.zone_world import CLIENT, MAC, lease, plug_in
from zones import services
from zones.kinds import spec_of
from zones.models import ExternalAddress, Zone

pytestmark = [pytest.mark.host, pytest.mark.django_db]
VIF = "fr0a0a0102"


class Killed(FriduError):
    """The worker was killed right there."""


@pytest.fixture
def actor(fulup) -> Actor:
    return Actor(id=fulup.pk, name="fulup")


def ended(job: Job) -> str:
    work.run(job.pk)
    job.refresh_from_db()
    return f"{job.state} {job.message}".strip()


@pytest.fixture
def home(host_file: HostConfig, host, image, dominig, actor) -> Zone:
    """zFulup on the host with one machine in it, as its own jobs leave them; a port leads there."""
    for argv in create_sets():
        runner.run(argv)
    external = ExternalAddress.objects.create(host=host, nic="eth0", address="91.121.65.140")
    job = services.zone_create(
        actor, host=host, name="zFulup", gateway="10.10.1.1", external=external, domain="fulup.internal", approved=True
    )
    assert ended(job) == "done"
    zone = Zone.objects.get()
    Machine.objects.create(
        host=host, zone=zone, owner=dominig.own, name="Common", address="10.10.1.2", mac=MAC, vif=VIF,
        uid_base=4_063_232, memory_mib=64, root_mib=64, image=image, built_at=timezone.now(),
    )  # fmt: skip
    for path, text in (("ethers", f"{MAC},10.10.1.2,Common\n"), ("hosts", "10.10.1.2 Common\n")):
        Path(host_file.state, path, "zFulup", "Common").write_text(text)
    assert ended(services.zone_apply(actor, zone, approved=True)) == "done"
    PublishedService.objects.create(
        host=host, name="WEB", zone=zone, external=external, proto="tcp", port=80, port_last=80, target="10.10.1.2",
        target_port=8080, live=True,
    )  # fmt: skip
    ZoneRestriction.objects.create(
        zone=zone, name="quiet", direction="out", proto="tcp", port=25, port_last=25, address="10.10.1.2"
    )
    return zone


def standing(config: HostConfig) -> dict[str, object]:
    """All that dom0 has of the zone and its machine."""
    kept = [
        p for room in ("zones", "members", "dnsmasq", "ethers", "hosts") for p in Path(config.state, room).rglob("*")
    ]
    return {
        "address": network.links({"xen-br1"})["xen-br1"].addresses,
        "members": sorted(network.found_members((EVERY_NET, EVERY_INSIDE, EVERY_VIF))),
        "files": {str(path.relative_to(config.state)): path.read_text() for path in kept if path.is_file()},
    }


def rows() -> tuple[object, ...]:
    zone = Zone.objects.get()
    return (
        f"{zone.gateway}/{zone.prefix}",
        Machine.objects.get().address,
        PublishedService.objects.get().target,
        ZoneRestriction.objects.get().address,
    )


def test_a_move_killed_at_every_step_goes_on_to_the_same_end(
    home: Zone, host_file: HostConfig, actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There and back again and again, each time killed one step later; rows follow only at the good end."""
    ends: dict[str, object] = {}
    left = [0]
    perform = execute.perform

    def killed(*args: object) -> object:
        if left[0] == 0:
            raise Killed("killed here")
        left[0] -= 1
        return perform(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(execute, "perform", killed)
    kills = 0
    for n in range(40):
        gateway = ("10.10.7.1", "10.10.1.1")[n % 2]
        before = rows()
        job = services.zone_change(actor, Zone.objects.get(), gateway=gateway, approved=True)
        left[0] = n
        outcome = ended(job)
        if outcome == "done":
            break
        kills += 1
        assert outcome == "failed killed here"
        assert rows() == before
        left[0] = 1000
        job_go_on(actor, job)
        assert ended(job) == "done"
        assert standing(host_file) == ends.setdefault(gateway, standing(host_file))
        assert network.services(host_file, ("dnsmasq:zFulup",))
    assert kills > 12, kills
    assert rows()[0] == f"{gateway}/24"
    there = ends["10.10.7.1"]
    assert there["address"] == ("10.10.7.1/24",)  # type: ignore[index]
    assert "10.10.1." not in str(there)
    assert f'members "{VIF}" . {MAC} . 10.10.7.2' in str(there)


def test_a_running_machine_gets_its_new_address_when_it_asks_again(home: Zone, host_file: HostConfig, actor) -> None:
    plug_in(spec_of(home, host_file), vif=VIF)
    assert lease(host_file).split()[:2] == ["10.10.1.2", "10.10.1.1"]
    job = services.zone_change(actor, home, gateway="10.10.7.1", approved=True)
    assert ended(job) == "done"
    assert lease(host_file).split() == ["10.10.7.2", "10.10.7.1", "10.10.7.1", "fulup.internal", "common"]
    assert "10.10.1.2" not in Path(host_file.run, "dnsmasq", "zFulup.leases").read_text()


def test_a_renewal_of_the_former_address_is_told_no(home: Zone, host_file: HostConfig, actor) -> None:
    """What asks for its former address is answered at once, not left to wait until its lease ends."""
    plug_in(spec_of(home, host_file), vif=VIF)
    lease(host_file)
    assert ended(services.zone_change(actor, home, gateway="10.10.7.1", approved=True)) == "done"
    ask = (
        "busybox",
        "udhcpc",
        "-i",
        "eth0",
        "-n",
        "-q",
        "-f",
        "-t",
        "20",
        "-T",
        "1",
        "-r",
        "10.10.1.2",
        "-s",
        "/bin/true",
    )
    said = subprocess.run(
        ("ip", "netns", "exec", CLIENT, *ask), capture_output=True, text=True, check=False, timeout=120
    ).stderr
    assert "10.10.7.2" in said, said


def test_the_zone_goes_back_by_applying_it_when_a_move_stopped_half_way(
    home: Zone, host_file: HostConfig, actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = standing(host_file)
    done: list[str] = []
    perform = execute.perform

    def stopping(step, *args: object) -> object:
        if len(done) == 5:
            raise Killed("no further")
        done.append(step.title)
        return perform(step, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(execute, "perform", stopping)
    job = services.zone_change(actor, home, gateway="10.10.7.1", domain="other.internal", approved=True)
    assert ended(job) == "failed no further"
    monkeypatch.setattr(execute, "perform", perform)
    assert standing(host_file) != before
    assert ended(services.zone_apply(actor, home, approved=True)) == "done"
    assert standing(host_file) == before
    assert rows()[0] == "10.10.1.1/24"


def test_a_shrunk_subnet_keeps_its_machines_where_they_are(home: Zone, host_file: HostConfig, actor) -> None:
    assert ended(services.zone_change(actor, home, prefix=28, approved=True)) == "done"
    assert network.links({"xen-br1"})["xen-br1"].addresses == ("10.10.1.1/28",)
    assert rows() == ("10.10.1.1/28", "10.10.1.2", "10.10.1.2", "10.10.1.2")
    assert ended(services.zone_change(actor, Zone.objects.get(), gateway="10.10.1.14", approved=True)) == "done"
    assert network.links({"xen-br1"})["xen-br1"].addresses == ("10.10.1.14/28",)


def test_a_kept_entry_moves_along_on_the_host(home: Zone, host_file: HostConfig, host, actor) -> None:
    """Its guest is another's to run: DHCP, names and the firewall's membership follow, its MAC and interface stay."""
    mac = "00:16:3e:11:22:33"
    keep = entries_keep(actor, host, [Entry(name="Old", address="10.10.1.9", mac=mac, zone="zFulup")], approved=True)
    assert keep is not None
    assert ended(keep) == "done"
    vif = Expected.objects.get().vif
    before = standing(host_file)
    assert ended(services.zone_change(actor, home, gateway="10.10.7.1", approved=True)) == "done"
    assert Expected.objects.get().address == "10.10.7.9"
    there = standing(host_file)
    assert [key for key in there["members"] if vif in key] == [  # type: ignore[attr-defined]
        key.replace("10.10.1.9", "10.10.7.9")
        for key in before["members"]  # type: ignore[attr-defined]
        if vif in key
    ]
    assert there["files"]["ethers/zFulup/Old"] == f"{mac},10.10.7.9,Old\n"  # type: ignore[index]
    assert "10.10.1.9" not in str(there)
    assert ended(services.zone_apply(actor, Zone.objects.get(), approved=True)) == "nothing"
