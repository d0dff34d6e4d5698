"""External addresses: reported, put on a card where the host file allows it, said to be missing; cards stay cards."""

from __future__ import annotations

import shlex
from dataclasses import replace
from types import MappingProxyType

import pytest
from django.core.exceptions import ValidationError
from django.urls import reverse
from django.utils import timezone

from audit.log import Actor
from dom0 import dnsmasq
from dom0 import host as host_file
from dom0.added import Added, path, read
from dom0.dnsmasq import Files
from dom0.errors import Refused
from dom0.host import HostConfig, Nic
from dom0.plan import Plan
from dom0.state import Link, State
from hosts.kinds import kind_of
from hosts.models import Host, Job
from zones import address_plan, addresses, offering, plan, seen
from zones.models import ExternalAddress, NetworkSeen, Zone
from zones.specs import ZoneSpec

CONFIG = HostConfig(
    name="ns3100421",
    libvirt="lxc:///system",
    volumes="/v",
    state="/s",
    nics=(Nic(name="eth0", addresses=("91.121.65.140",), may_add=("0.0.0.0/0",)),),
)
NEW = Added(nic="eth0", address="198.51.100.7")
ETH0 = Link(name="eth0", up=True, addresses=("91.121.65.140/24",))
STATE = State(host="ns3100421", links={"eth0": ETH0})


@pytest.fixture
def actor(fulup) -> Actor:
    return Actor(id=fulup.pk, name="fulup")


@pytest.fixture
def open_host(host) -> Host:
    """A host whose file lets Fridu add any address to eth0."""
    nic = {"name": "eth0", "addresses": ["91.121.65.140", "87.98.130.56"], "may_add": ["0.0.0.0/0"]}
    host.facts = {**host.facts, "nics": [nic]}
    host.save()
    return host


def look(host, **links: list[str]) -> None:
    """What the watcher saw: addresses by interface."""
    found = {name: {"kind": "", "mac": "", "addresses": list(texts)} for name, texts in links.items()}
    NetworkSeen.objects.update_or_create(host=host, defaults={"links": found, "seen_at": timezone.now()})


# the plan


def test_an_address_is_put_on_its_card_once_and_kept() -> None:
    found = address_plan.present(NEW, "/s", STATE, allowed=True)
    assert [step.shown for step in found.steps] == ["fridu-hand address-add nic=eth0 address=198.51.100.7"]
    after = found.steps[0].after(STATE)
    assert after.links["eth0"].addresses == ("91.121.65.140/24", "198.51.100.7/32")
    assert read(after.files[path("/s", NEW.address)]) == NEW
    assert address_plan.present(NEW, "/s", after, allowed=True).steps == ()


def test_without_the_host_files_leave_the_answer_is_the_command() -> None:
    with pytest.raises(Refused) as refused:
        address_plan.present(NEW, "/s", STATE, allowed=False)
    assert "ip address add 198.51.100.7/32 dev eth0" in refused.value.note


def test_a_card_that_is_not_there_and_an_address_elsewhere_are_refused() -> None:
    with pytest.raises(Refused, match="no interface eth7"):
        address_plan.present(replace(NEW, nic="eth7"), "/s", STATE, allowed=True)
    taken = STATE.having("links", "virbr0", Link(name="virbr0", addresses=("198.51.100.7/24",)))
    with pytest.raises(Refused, match="virbr0 on ns3100421 has"):
        address_plan.present(NEW, "/s", taken, allowed=True)


def test_only_an_address_of_ours_is_taken_off() -> None:
    there = address_plan.present(NEW, "/s", STATE, allowed=True).steps[0].after(STATE)
    found = address_plan.absent(NEW, "/s", there)
    assert [step.shown for step in found.steps] == ["fridu-hand address-remove nic=eth0 address=198.51.100.7"]
    assert found.steps[0].destroys
    assert found.steps[0].after(there) == replace(STATE, files=MappingProxyType({}))
    with pytest.raises(Refused, match="not put on eth0 by Fridu"):
        address_plan.absent(Added(nic="eth0", address="91.121.65.140"), "/s", STATE)
    assert address_plan.absent(NEW, "/s", STATE).steps == ()


def _zone(**change) -> ZoneSpec:
    spec = ZoneSpec(
        host="ns3100421", name="zFulup", bridge="xen-br1", gateway="10.10.1.1", prefix=24, isolated=False,
        domain="fulup.internal", files=Files(state="/s", run="/r", zone="zFulup"), in_kbit=1000, out_kbit=1000,
    )  # fmt: skip
    return replace(spec, **change)


def _plans() -> list[Plan]:
    """Every plan of zones and addresses, on an empty host and on one where all is there."""
    state, found = STATE, []
    for made in (
        lambda s: plan.present(_zone(), s),
        lambda s: plan.present(_zone(gateway="10.10.7.1", in_kbit=0), s),
        lambda s: address_plan.present(NEW, "/s", s, allowed=True),
        lambda s: address_plan.absent(NEW, "/s", s),
        lambda s: plan.absent(_zone(gateway="10.10.7.1"), s),
    ):
        found.append(made(state))
        for step in found[-1].steps:
            state = step.after(state)
    return found


def test_no_plan_renames_enslaves_shapes_or_takes_down_a_card() -> None:
    steps = [step for each in _plans() for step in each.steps]
    assert len(steps) > 25
    on_card = [step.shown for step in steps if "eth0" in shlex.split(step.shown.splitlines()[0])]
    assert on_card == []
    named = [step.shown for step in steps if "=eth0" in step.shown]
    assert {shown.split()[1] for shown in named} == {"address-add", "address-remove"}
    for step in steps:
        words = shlex.split(step.shown.splitlines()[0])
        assert not {"name", "master", "nomaster", "down", "flush"} & set(words), step.shown
        if words[:2] == ["ip", "link"]:
            assert "xen-br1" in words


# the wish


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("field", "nic", "address", "says"),
    [
        ("address", "eth0", "nonsense", "not an IPv4 address"),
        ("address", "eth0", "198.51.100", "not an IPv4 address"),
        ("address", "eth0", "2001:db8::1", "not an IPv4 address"),
        ("address", "eth0", "127.0.0.1", "towards the Internet"),
        ("address", "eth0", "224.0.0.1", "towards the Internet"),
        ("address", "eth0", "0.0.0.0", "towards the Internet"),
        ("address", "eth0", "91.121.65.140", "is on eth0 of ns3100421 already"),
        ("address", "eth0", "198.51.100.9", "is on eth0 of other"),
        ("address", "eth0", "10.10.1.77", "lies inside zone zFulup"),
        ("address", "eth0", "10.10.95.9", "inside the admin VPN"),
        ("address", "eth0", "192.0.2.1", "is on virbr0"),
        ("nic", "eth7", "198.51.100.7", "no card “eth7”"),
        ("nic", "xen-br1", "198.51.100.7", "Cards there: eth0"),
    ],
)
def test_an_address_that_cannot_be_is_said_beside_its_field(actor, open_host, zones, field, nic, address, says) -> None:
    ExternalAddress.objects.create(host=Host.objects.create(name="other"), nic="eth0", address="198.51.100.9")
    look(open_host, eth0=["91.121.65.140/24", "87.98.130.56/32"], virbr0=["192.0.2.1/24"])
    with pytest.raises(ValidationError) as error:
        addresses.address_add(actor, host=open_host, nic=nic, address=address)
    assert set(error.value.message_dict) == {field}
    assert says in " ".join(error.value.message_dict[field])
    assert not Job.objects.exists()


@pytest.mark.django_db
def test_where_the_host_file_does_not_allow_it_the_sentence_is_what_to_type(actor, host) -> None:
    with pytest.raises(ValidationError) as error:
        addresses.address_add(actor, host=host, nic="eth0", address="198.51.100.7")
    said = error.value.message_dict["address"][0]
    assert "ip address add 198.51.100.7/32 dev eth0" in said
    assert 'addresses = ["91.121.65.140", "87.98.130.56", "198.51.100.7"]' in said


@pytest.mark.django_db
def test_networks_in_the_host_file_limit_what_may_be_added(actor, open_host) -> None:
    open_host.facts["nics"][0]["may_add"] = ["198.51.100.0/28"]
    open_host.save()
    assert addresses.address_add(actor, host=open_host, nic="eth0", address="198.51.100.7").title == (
        "Put 198.51.100.7 on eth0"
    )
    with pytest.raises(ValidationError):
        addresses.address_add(actor, host=open_host, nic="eth0", address="198.51.100.17")


@pytest.mark.django_db
def test_its_row_comes_with_the_jobs_end_and_goes_with_the_other(actor, open_host) -> None:
    look(open_host, eth0=["91.121.65.140/24"])
    job = addresses.address_add(actor, host=open_host, nic="eth0", address="198.51.100.7")
    assert not ExternalAddress.objects.filter(address="198.51.100.7").exists()
    kind = kind_of("address.add")
    assert [step.action.verb for step in kind.plan(job, STATE, CONFIG).steps] == ["address-add"]
    with pytest.raises(Refused):
        kind.plan(job, STATE, replace(CONFIG, nics=(Nic(name="eth0", addresses=()),)))
    kind.done(job)
    Job.objects.update(state=Job.State.DONE)
    row = ExternalAddress.objects.get(address="198.51.100.7")
    addresses.address_sync(open_host)
    assert ExternalAddress.objects.filter(pk=row.pk).exists()
    kind_of("address.remove").done(addresses.address_remove(actor, row))
    assert not ExternalAddress.objects.filter(pk=row.pk).exists()


@pytest.mark.django_db
def test_an_address_in_use_or_of_the_host_file_is_not_taken_off(actor, open_host, zones) -> None:
    with pytest.raises(Refused, match="in use: zone zFulup"):
        addresses.address_remove(actor, zones["zFulup"].external)
    Zone.objects.all().delete()
    with pytest.raises(Refused, match="own host file"):
        addresses.address_remove(actor, ExternalAddress.objects.get(address="91.121.65.140"))


@pytest.mark.django_db
def test_a_missing_address_is_named_where_it_hurts(open_host, zones, fulup, rf) -> None:
    look(open_host, eth0=["91.121.65.140/24"])
    request = rf.get("/")
    request.user = fulup
    (said,) = offering.needs(request)
    assert (said.state, said.title) == ("bad", "87.98.130.56 is not on eth0 of ns3100421")
    assert "zDominig goes out by it" in said.text
    look(open_host, eth0=["91.121.65.140/24", "87.98.130.56/32"])
    assert list(offering.needs(request)) == []


@pytest.mark.django_db
def test_of_a_host_nobody_looked_at_nothing_is_called_missing(host, zones) -> None:
    assert addresses.missing(ExternalAddress.objects.all()) == set()


# what the watcher sees


@pytest.mark.django_db
def test_the_watcher_books_links_leases_and_addresses_of_ours(host) -> None:
    lease = "1700000000 aa:bb:0a:0a:01:02 10.10.1.2 Common 01:aa\n1700000000 junk\n"
    state = State(
        host="ns3100421",
        links={
            "eth0": ETH0,
            "lo": Link(name="lo", addresses=("127.0.0.1/8",)),
            "fr1": Link(name="fr1", kind="veth", master="xen-br1"),
        },
        files={"/r/dnsmasq/zFulup.leases": lease, path("/s", NEW.address): NEW.text, path("/s", "junk"): "{"},
    )
    seen.observe(host, state)
    found = NetworkSeen.objects.get()
    assert found.links == {"eth0": {"kind": "", "mac": "", "addresses": ["91.121.65.140/24"]}}
    assert found.added == {"198.51.100.7": "eth0"}
    assert found.leases == {"zFulup": [["10.10.1.2", "aa:bb:0a:0a:01:02", "Common", 1_700_000_000]]}
    assert ExternalAddress.objects.filter(address="198.51.100.7", nic="eth0").exists()
    before = found.seen_at
    seen.observe(host, state)
    assert NetworkSeen.objects.get().seen_at == before  # nothing new, nothing written


@pytest.mark.parametrize(
    "line",
    [
        "1 aa:bb:cc:dd:ee:ff 10.0.0.1 <script> *",
        "1 aa:bb:cc:dd:ee:ff 10.0.0.1 a;reboot *",
        "1 aa:bb:cc:dd:ee:ff 10.0.0.1 -a *",
        "1 aa:bb:cc:dd:ee:ff 10.0.0.1 " + "a" * 64 + " *",
        "1 aa:bb:cc:dd:ee:ff 10.0.0.1 * *",
        "1 aa:bb:cc:dd:ee:ff 10.0.0.1 naïve *",
    ],
)
def test_a_guests_name_that_is_no_host_name_is_left_out(line: str) -> None:
    (lease,) = dnsmasq.leases(line)
    assert lease.name == ""


@pytest.mark.parametrize(
    "line",
    [
        "",
        "duid 00:01",
        "x aa:bb:cc:dd:ee:ff 10.0.0.1 a *",
        "1 AA 10.0.0.1 a *",
        "1 aa:bb:cc:dd:ee:ff 10.0.0.999 a *",
        "1 aa:bb:cc:dd:ee:ff 10.0.0.1 a b *",
        "1 aa:bb:cc:dd:ee:ff 10.0.0.1",
    ],
)
def test_a_line_that_is_no_lease_is_none(line: str) -> None:
    assert dnsmasq.leases(line) == ()


# pages


@pytest.mark.django_db
def test_the_page_shows_what_is_missing_with_the_command_or_the_button(client, fulup, host, zones) -> None:
    client.force_login(fulup)
    look(host, eth0=["91.121.65.140/24"])
    page = client.get(reverse("zones:addresses")).content.decode()
    assert "missing" in page
    assert "ip address add 87.98.130.56/32 dev eth0" in page
    host.facts["nics"][0]["may_add"] = ["0.0.0.0/0"]
    host.save()
    page = client.get(reverse("zones:addresses")).content.decode()
    assert "Put it there" in page
    assert "ip address add" not in page


@pytest.mark.django_db
def test_adding_one_leads_to_its_job_and_bad_input_stays_on_the_form(client, fulup, open_host) -> None:
    client.force_login(fulup)
    url, card = reverse("zones:address_add"), f"{open_host.pk}:eth0"
    answer = client.post(url, {"card": card, "address": "nonsense"})
    assert answer.status_code == 422
    assert "not an IPv4 address" in answer.content.decode()
    assert 'value="nonsense"' in answer.content.decode()
    assert client.post(url, {"card": "9:eth9", "address": "198.51.100.7"}).status_code == 422
    assert client.post(url, {"card": card, "address": "198.51.100.7"}).status_code == 302
    assert Job.objects.get().kind == "address.add"


@pytest.mark.django_db
def test_removing_one_of_ours_leads_to_its_job(client, fulup, open_host) -> None:
    client.force_login(fulup)
    NetworkSeen.objects.create(host=open_host, added={"198.51.100.7": "eth0"}, seen_at=timezone.now())
    addresses.address_sync(open_host)
    row = ExternalAddress.objects.get(address="198.51.100.7")
    assert client.post(reverse("zones:address_remove", args=[row.pk])).status_code == 302
    assert Job.objects.get().kind == "address.remove"
    other = ExternalAddress.objects.get(address="91.121.65.140")
    answer = client.post(reverse("zones:address_remove", args=[other.pk]))
    assert answer.status_code == 409
    assert "own host file" in answer.content.decode()


# the host file


@pytest.mark.parametrize(
    ("line", "networks"),
    [
        ("", ()),
        ("may_add = false", ()),
        ("may_add = true", ("0.0.0.0/0",)),
        ('may_add = ["198.51.100.0/28"]', ("198.51.100.0/28",)),
    ],
)
def test_the_host_file_says_what_may_be_added(tmp_path, line, networks) -> None:
    path = tmp_path / "host.toml"
    path.write_text(f'name = "x"\nlibvirt = "lxc:///system"\nvolumes = "/v"\n[[nic]]\nname = "eth0"\n{line}\n')
    assert host_file.load(str(path)).nics[0].may_add == networks


@pytest.mark.parametrize("line", ['may_add = ["nonsense"]', 'may_add = ["198.51.100.7/28"]'])
def test_a_network_that_is_none_in_the_host_file_is_a_sentence(tmp_path, line) -> None:
    path = tmp_path / "host.toml"
    path.write_text(f'name = "x"\nlibvirt = "lxc:///system"\nvolumes = "/v"\n[[nic]]\nname = "eth0"\n{line}\n')
    with pytest.raises(Refused, match="may_add of eth0") as refused:
        host_file.load(str(path))
    assert "may_add = true" in refused.value.note
