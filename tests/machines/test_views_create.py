"""The form for a new machine."""

from __future__ import annotations

import re

import pytest

from accounts.models import Membership, SSHKey
from hosts.models import Job
from machines.models import Machine, SiteDefaults

URL = "/machines/new/"


@pytest.fixture
def operator(client, fulup, zones, image):
    client.force_login(fulup)
    return client


@pytest.fixture
def laptop(dominig) -> SSHKey:
    return SSHKey.objects.create(user=dominig, name="laptop", line="ssh-ed25519 AAAA", fingerprint="SHA256:laptop")


def wish(owner, **other: object) -> dict[str, object]:
    return {"name": "Choir", "address": "10.10.2.6", "owner": owner.pk, **other}


def test_name_address_and_owner_are_enough(operator, dominig, zones):
    answer = operator.post(URL, wish(dominig.own))
    machine, job = Machine.objects.get(), Job.objects.get()
    assert answer["Location"] == f"/jobs/{job.pk}/"
    assert (machine.name, machine.address, machine.zone, machine.owner) == (
        "Choir",
        "10.10.2.6",
        zones["zDominig"],
        dominig.own,
    )
    assert (machine.memory_mib, machine.root_mib, machine.vcpus) == (64, 128, 1)
    assert (job.kind, job.state, job.approver) == ("machine.create", "planning", None)


def test_sizes_typed_win_over_the_sites_defaults(operator, dominig):
    operator.post(URL, wish(dominig.own, memory_mib="96", root_mib="200", vcpus="2", reason="choir of Quimper"))
    machine = Machine.objects.get()
    assert (machine.memory_mib, machine.root_mib, machine.vcpus) == (96, 200, 2)
    assert Job.objects.get().reason == "choir of Quimper"


def test_the_owners_keys_are_chosen_beforehand_and_put_on(operator, dominig, laptop):
    text = operator.get(URL, {"owner": dominig.own.pk}).content.decode()
    assert re.search(rf'value="{laptop.pk}"[^>]*checked', text)
    operator.post(URL, wish(dominig.own, ssh_keys=[laptop.pk]))
    assert list(Machine.objects.get().ssh_keys.all()) == [laptop]


def test_choosing_an_owner_brings_that_owners_keys(operator, dominig, laptop):
    headers = {"HX-Request": "true", "HX-Target": "keys"}
    part = operator.get(URL, {"owner": dominig.own.pk}, headers=headers).content.decode()
    assert part.lstrip().startswith('<fieldset class="f" id="keys"')
    assert "laptop" in part
    assert "laptop" not in operator.get(URL, {"owner": ""}, headers=headers).content.decode()


def test_the_operator_himself_is_the_owner_offered_first(operator, fulup):
    text = operator.get(URL).content.decode()
    assert re.search(rf'<option value="{fulup.own.pk}" selected>', text)


def test_an_associations_keys_are_those_of_its_members(operator, dominig, brendan, laptop):
    Membership.objects.create(owner=brendan.own, user=dominig)
    assert "laptop" in operator.get(URL, {"owner": brendan.own.pk}).content.decode()


def test_without_script_the_keys_come_by_a_button_and_nothing_is_made(operator, dominig, laptop):
    text = operator.post(URL, wish(dominig.own, look="keys")).content.decode()
    assert "laptop" in text
    assert 'value="Choir"' in text
    assert 'value="10.10.2.6"' in text
    assert 'class="err"' not in text
    assert not Machine.objects.exists()


def test_a_strangers_key_is_refused(operator, dominig, brendan):
    key = SSHKey.objects.create(user=brendan, name="b", line="ssh-ed25519 B", fingerprint="SHA256:b")
    answer = operator.post(URL, wish(dominig.own, ssh_keys=[key.pk]))
    assert answer.status_code == 422
    assert "is of neither the owner nor you" in answer.content.decode()
    assert not Machine.objects.exists()


def test_it_suggests_free_addresses_and_names_the_defaults(operator, web_dom):
    text = operator.get(URL).content.decode()
    assert "<code>10.10.2.3</code>" in text
    assert "<code>10.10.2.2</code>" not in text
    assert '<option value="10.10.2.3">zDominig</option>' in text
    assert "tiny, 64 MB of memory, 128 MB root volume" in text


def says(answer, field: str) -> str:
    """The error beside `field`, which is tied to its input."""
    text = answer.content.decode()
    tied = re.search(rf'<(?:input|select)[^>]*name="{field}"[^>]*>', text)
    assert tied
    assert 'aria-invalid="true"' in tied[0]
    assert f"id_{field}_err" in tied[0]
    found = re.search(rf'id="id_{field}_err">(.*?)</p>', text, re.DOTALL)
    assert found
    return found[1]


@pytest.mark.parametrize(
    ("field", "typed", "said"),
    [
        ("name", "", "Give it a name, for example WEB-Dom."),
        ("name", "a'; rm -rf /", "Use 1 to 31 letters"),
        ("name", '"><script>', "Use 1 to 31 letters"),
        ("name", "two\nlines", "Use 1 to 31 letters"),
        ("name", "x" * 300, "this one has 300"),
        ("name", "web-dom", "WEB-Dom exists already, at 10.10.2.2."),
        ("address", "", "Give it an address"),
        ("address", "ten.ten", "One looks like 10.10.2.6."),
        ("address", "192.0.2.1", "192.0.2.1 lies in no zone."),
        ("address", "10.10.2.1", "10.10.2.3"),
        ("address", "10.10.2.2", "10.10.2.3"),
        ("address", "10.10.2.255", "10.10.2."),
        ("owner", "", "Choose whom it is for."),
        ("root_mib", "16", "32"),
        ("memory_mib", "1", "16"),
    ],
)
def test_what_is_wrong_stands_beside_its_field_and_what_was_typed_stays(operator, dominig, web_dom, field, typed, said):
    answer = operator.post(URL, {**wish(dominig.own), "reason": "kept", field: typed})
    assert answer.status_code == 422
    assert said in says(answer, field)
    text = answer.content.decode()
    assert 'value="kept"' in text
    assert "<script>" not in text.replace("<script src", "")
    assert Machine.objects.count() == 1
    assert not Job.objects.exists()


def test_a_wrong_size_opens_the_sizes(operator, dominig):
    text = operator.post(URL, wish(dominig.own, root_mib="16")).content.decode()
    assert re.search(r'<details[^>]*id="sizes" open>', text)
    assert re.search(r'<details[^>]*id="sizes">', operator.get(URL).content.decode())


def test_an_address_outside_the_zone_named_is_refused(operator, dominig, zones):
    answer = operator.post(URL, wish(dominig.own, zone=zones["zFulup"].pk))
    assert "10.10.1." in says(answer, "address")


def test_without_an_image_it_says_so(operator, dominig):
    SiteDefaults.objects.update(image=None)
    assert "Choose an image" in says(operator.post(URL, wish(dominig.own)), "image")


def test_without_a_zone_it_says_so(client, fulup, host, dominig):
    client.force_login(fulup)
    assert "There is no zone yet" in client.get(URL).content.decode()
    assert "create one first" in says(client.post(URL, wish(dominig.own)), "address")


@pytest.mark.parametrize("who", ["dominig", "agnes"])
def test_it_is_for_operators(client, request, who, zones, image):
    client.force_login(request.getfixturevalue(who))
    assert client.get(URL).status_code == 404
    assert client.post(URL, {}).status_code == 404
