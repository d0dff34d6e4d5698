"""Machines the panel does not know, and differences of those it does: who sees them, and what the doors ask for."""

from __future__ import annotations

import copy

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.urls import reverse

from audit.log import Actor
from audit.models import Entry
from dom0 import found
from dom0.host import HostConfig
from dom0.state import State, Volume
from hosts.models import Job
from machines import addresses, definition, differences, drift, stages
from machines import adopt_services as services
from machines import services as machine_services
from machines.kinds import spec_of
from machines.models import Image, Machine
from tests.test_access_matrix import STRANGER

CONFIG = HostConfig(name="ns3100421", libvirt="lxc:///system", volumes="/v")
DRIFT = {
    "digest": "d" * 64,
    "items": [
        {"what": "memory", "wished": "64 MB", "found": "48 MB", "adopt": {"memory_mib": 48}},
        {"what": "disks", "wished": "/v/a", "found": "/v/b", "adopt": {}},
    ],
}


@pytest.fixture
def lost(host):
    host.figures["unknown"] = [copy.deepcopy(STRANGER)]
    host.save()
    return services.strangers(host)[0]


@pytest.fixture
def drifted(web_dom):
    web_dom.drift = DRIFT
    web_dom.save()
    return web_dom


def actor(user):
    return Actor(id=user.pk, name=user.username)


def as_wished(spec):
    """The host exactly as the spec wants it."""
    ethers, hosts = stages.dhcp(spec)
    from dom0 import members

    _, boot = members.boot_files(spec.members)
    texts = {ethers.path: ethers.content, hosts.path: hosts.content, spec.members_file: boot, spec.autostart_file: "x"}
    volume = Volume(
        name=spec.volume, path=spec.volume_path, size_bytes=spec.root.size_bytes, machine=spec.uuid,
        root=spec.root_mark, tuned="t",
    )  # fmt: skip
    xml = definition.domain_xml(spec)
    there = found.looked_at(xml, running=False, autostart=False, live_mib=0)
    return State(
        found={spec.name: there}, files=texts, volumes={spec.volume: volume},
        members={m.key: "present" for m in spec.members},
    )  # fmt: skip


def test_nothing_differs_of_a_host_as_wished(web_dom):
    spec = spec_of(web_dom, CONFIG)
    assert differences.as_json(differences.differences(spec, as_wished(spec))) == {}


@pytest.mark.parametrize(
    ("room", "change", "what"),
    [
        ("found", lambda one: found.read(XML_OF(one).replace(">64<", ">32<")), "memory"),
        (
            "volumes",
            lambda one: Volume(name=one.name, path=one.path, size_bytes=5, machine=one.machine, root=one.root),
            "root volume’s size",
        ),
        (
            "volumes",
            lambda one: Volume(name=one.name, path=one.path, size_bytes=one.size_bytes, machine="x"),
            "root volume’s mark",
        ),
        ("volumes", lambda one: None, "root volume"),
    ],
)
def test_each_difference_is_named(web_dom, room, change, what):
    spec = spec_of(web_dom, CONFIG)
    XML[0] = definition.domain_xml(spec)
    state = as_wished(spec)
    key, value = next(iter(getattr(state, room).items()))
    after = change(value)
    state = state.having(room, key, after) if after else state.without(room, key)
    assert [one.what for one in differences.differences(spec, state)] == [what]


XML = [""]


def XML_OF(_one):
    return XML[0]


def test_what_a_machine_has_that_a_restored_database_forgot_is_given_to_no_other(fulup, image, zones, lost):
    """Its address and its user ids: on lxc whoever shared them would be the same root."""
    zone, host = zones["zFulup"], lost.host
    address = addresses.free_addresses(zone, 1)[0]
    mac, vif = addresses.drawn(host, address)
    base = machine_services.free_uid_base(host)
    forgotten = {**copy.deepcopy(STRANGER), "ours": True, "more": {"address": address, "uid_base": base}}
    forgotten["cards"][0] |= {"mac": mac, "vif": vif}
    host.figures["unknown"] = [forgotten]
    host.save()
    zone.refresh_from_db()
    assert address not in addresses.free_addresses(zone, 5)
    assert f"Lost, which the panel does not know, has {address}" in addresses.complaint(zone, address, name="Other")
    assert addresses.complaint(zone, address, name="Lost") == ""
    assert not {mac, vif} & set(addresses.drawn(host, address))
    assert machine_services.free_uid_base(host) >= base + 65_536
    with pytest.raises(ValidationError, match="which the panel does not know"):
        machine_services.machine_create(
            actor(fulup), host=host, zone=zone, owner=fulup.own, name="Other", address=address
        )


def test_a_machine_that_is_not_there_differs_in_nothing_and_is_missing(web_dom):
    spec = spec_of(web_dom, CONFIG)
    assert differences.differences(spec, State()) == ()


def test_the_sweep_asks_the_database_the_same_for_one_machine_and_for_many(web_dom, django_assert_num_queries):
    with django_assert_num_queries(1):
        drift._settled(CONFIG)
    for number in range(3, 9):
        Machine.objects.create(
            host=web_dom.host, zone=web_dom.zone, owner=web_dom.owner, name=f"M{number}", image=web_dom.image,
            address=f"10.10.2.{number}", mac=f"aa:bb:cc:dd:02:0{number}", vif=f"fr{number}", uid_base=65536 * number,
            memory_mib=64, root_mib=128, built_at=web_dom.built_at,
        )  # fmt: skip
    with django_assert_num_queries(1):
        assert len(drift._settled(CONFIG)) == 7


def test_a_foreign_machine_becomes_a_row_of_its_own_kind_and_nothing_more_is_wished(fulup, zones, lost):
    job = services.machine_adopt(actor(fulup), lost, zone=zones["zFulup"], owner=fulup.own, address="10.10.1.9")
    machine = Machine.objects.get(name="Lost")
    assert (job.kind, job.target_id) == ("machine.adopt", machine.pk)
    assert (machine.mac, machine.vif, machine.adopted, machine.wanted) == (
        "aa:bb:cc:dd:09:09",
        "frlost",
        True,
        "running",
    )
    assert (machine.image.family, machine.image.digest) == ("other", "")
    assert spec_of(machine, CONFIG).foreign
    assert Entry.objects.filter(action="machine.adopt", actor_name="fulup").exists()
    assert Image.objects.filter(name="as-found").count() == 1


def test_an_address_somebody_has_is_refused_beside_its_field(fulup, zones, lost, web_dom):
    with pytest.raises(ValidationError) as refused:
        services.machine_adopt(actor(fulup), lost, zone=zones["zDominig"], owner=fulup.own, address=web_dom.address)
    assert "WEB-Dom has 10.10.2.2 already" in str(refused.value)
    assert not Machine.objects.filter(name="Lost").exists()


def test_its_zone_is_told_by_its_bridge(zones, lost):
    assert services.likely(lost)[0] == zones["zFulup"]


def test_owners_find_no_such_pages(client, dominig, host, lost, web_dom):
    client.force_login(dominig)
    for url in (
        reverse("machines:unknown"),
        reverse("machines:adopt", args=(host.pk, lost.uuid)),
        reverse("machines:drift", args=(web_dom.pk,)),
    ):
        assert client.get(url).status_code == client.post(url).status_code == 404
    with pytest.raises(PermissionDenied):
        services.machine_adopt(actor(dominig), lost, zone=None, owner=dominig.own, address="10.10.1.9")
    with pytest.raises(PermissionDenied):
        services.drift_restore(actor(dominig), web_dom, digest="d" * 64)


def test_the_list_the_hosts_page_and_the_overview_tell_of_it(client, fulup, host, lost, web_dom):
    client.force_login(fulup)
    assert "1 machine on the hosts is not in the panel." in client.get(reverse("machines:list")).content.decode()
    assert "Not in the panel" in client.get(reverse("hosts:list")).content.decode()
    html = client.get(reverse("machines:unknown")).content.decode()
    assert "Lost" in html
    assert "something else" in html
    assert f"A machine on {host} is not in the panel" in client.get("/").content.decode()


def test_the_form_leads_to_the_plan(client, fulup, host, zones, lost):
    client.force_login(fulup)
    url = reverse("machines:adopt", args=(host.pk, lost.uuid))
    html = client.get(url).content.decode()
    assert "Its definition stays as it was found" in html
    wrong = client.post(url, {"zone": zones["zFulup"].pk, "address": "10.10.2.9", "owner": fulup.own.pk})
    assert wrong.status_code == 422
    assert "is not in zone zFulup" in wrong.content.decode()
    done = client.post(url, {"zone": zones["zFulup"].pk, "address": "10.10.1.9", "owner": fulup.own.pk})
    assert done["Location"] == reverse("hosts:job", args=(Job.objects.get().pk,))
    assert client.get(url).status_code == 404  # it is in the panel now


def test_what_differs_stands_on_its_page_and_owners_are_not_bothered(client, fulup, dominig, drifted):
    client.force_login(fulup)
    html = client.get(reverse("machines:detail", args=(drifted.pk,))).content.decode()
    assert "On the host it differs from what is wished:" in html
    assert "memory, disks" in html
    page = client.get(reverse("machines:drift", args=(drifted.pk,))).content.decode()
    assert "48 MB" in page
    assert "Adopt what was found" in page
    client.force_login(dominig)
    assert (
        "differs from what is wished" not in client.get(reverse("machines:detail", args=(drifted.pk,))).content.decode()
    )


def test_restoring_asks_for_a_plan_and_ignoring_for_none(client, fulup, drifted):
    client.force_login(fulup)
    url = reverse("machines:drift", args=(drifted.pk,))
    client.post(url, {"do": "ignore", "digest": "d" * 64})
    drifted.refresh_from_db()
    assert drifted.ignored_drift == "d" * 64
    assert not Job.objects.exists()
    assert Entry.objects.filter(action="machine.drift").exists()
    assert "left alone until something else differs" in client.get(url).content.decode()
    client.post(url, {"do": "restore", "digest": "d" * 64})
    assert Job.objects.get().kind == "machine.drift"


@pytest.mark.parametrize("seen", ["e" * 64, ""])
@pytest.mark.parametrize("way", ["restore", "adopt", "ignore"])
def test_a_button_on_an_old_page_settles_nothing_else_than_what_was_seen(client, fulup, drifted, way, seen):
    client.force_login(fulup)
    answer = client.post(reverse("machines:drift", args=(drifted.pk,)), {"do": way, "digest": seen})
    assert answer.status_code == 409
    assert "What differs of WEB-Dom has changed since you saw it." in answer.content.decode()
    drifted.refresh_from_db()
    assert (drifted.memory_mib, drifted.ignored_drift) == (64, "")
    assert not Job.objects.exists()
    assert f'name="digest" value="{"d" * 64}"' in answer.content.decode()  # pressed again it is about what is shown


def test_adopting_wishes_what_was_found_where_a_wish_can_say_it(fulup, drifted):
    services.drift_adopt(actor(fulup), drifted, digest="d" * 64)
    drifted.refresh_from_db()
    assert drifted.memory_mib == 48
    assert Job.objects.get().args == {"was": {"memory_mib": 64}, "is": {"memory_mib": 48}}


def test_a_definition_of_somebody_elses_is_read_without_believing_it():
    told = found.read("<domain type='xen'><name>a</name><uuid>b</uuid><memory unit='GiB'>1</memory></domain>")
    assert (told.memory_mib, told.vcpus, told.cards, told.ours) == (1024, 1, (), False)
    with pytest.raises(ValueError, match="no definition"):
        found.read("<domain")
