"""The settings page: filled in with what is, what follows is looked at first, then the plan."""

from __future__ import annotations

import pytest

from firewall.models import PublishedService
from hosts.models import Job, JobStep
from machines.models import Machine


@pytest.fixture
def operator(client, fulup):
    client.force_login(fulup)
    return client


def url(machine: Machine) -> str:
    return f"/machines/{machine.pk}/settings/"


def typed(machine: Machine, **other: object) -> dict[str, object]:
    """The form as it stands, with what somebody typed over it."""
    fields = ("name", "address", "memory_mib", "vcpus", "root_mib", "swap_mib", "log_mib", "start_order")
    asis = {name: getattr(machine, name) for name in fields}
    asis |= {"zone": machine.zone_id, "owner": machine.owner_id, "autostart": "on" if machine.autostart else ""}
    return {**asis, **other}


def test_it_is_filled_in_with_what_the_machine_is(operator, web_dom):
    answer = operator.get(url(web_dom))
    text = answer.content.decode()
    assert answer.status_code == 200
    assert 'value="WEB-Dom"' in text
    assert 'value="10.10.2.2"' in text
    assert 'name="boot"' not in text, "lxc machines run on the host's kernel"
    assert "Settings" in operator.get(f"/machines/{web_dom.pk}/").content.decode()


def test_what_the_plan_tells_all_of_leads_straight_to_it(operator, web_dom):
    answer = operator.post(url(web_dom), typed(web_dom, memory_mib=96, root_mib=256, reason="he asked"))
    job = Job.objects.get()
    assert answer["Location"] == f"/jobs/{job.pk}/"
    assert (job.kind, job.reason, job.approver) == ("machine.change", "he asked", None)
    assert job.args["change"] == {"memory_mib": 96, "root_mib": 256}


def test_before_and_after_stand_beside_the_plan(operator, web_dom):
    operator.post(url(web_dom), typed(web_dom, memory_mib=96))
    job = Job.objects.get()
    JobStep.objects.create(job=job, number=1, stage="createvmconf", title="Define it", shown="x")
    Job.objects.update(state=Job.State.PLANNED, digest="d")
    text = operator.get(f"/jobs/{job.pk}/").content.decode()
    assert "Before and after" in text
    assert '<td class="key">Memory</td><td class="mut">64 MB</td><td>96 MB</td>' in text


def test_another_zone_first_shows_what_moves_along_and_saves_nothing(operator, web_dom, zones):
    PublishedService.objects.create(
        host=web_dom.host, name="DomiWEB", zone=zones["zDominig"], external=zones["zDominig"].external, proto="tcp",
        port=80, port_last=80, target="10.10.2.2", target_port=8080, live=True,
    )  # fmt: skip
    wish = typed(web_dom, zone=zones["zFulup"].pk)
    text = operator.post(url(web_dom), wish).content.decode()
    assert not Job.objects.exists()
    assert "What moves along" in text
    assert "10.10.1.2:8080" in text
    assert "once you apply the firewall" in text
    seen = text.split('name="seen" value="')[1].split('"')[0]
    answer = operator.post(url(web_dom), {**wish, "seen": seen})
    assert answer["Location"] == f"/jobs/{Job.objects.get().pk}/"
    assert Job.objects.get().args["change"] == {"zone": zones["zFulup"].pk, "address": "10.10.1.2"}


def test_a_list_that_has_changed_meanwhile_is_shown_anew(operator, web_dom, zones):
    PublishedService.objects.create(
        host=web_dom.host, name="DomiWEB", zone=zones["zDominig"], external=zones["zDominig"].external, proto="tcp",
        port=80, port_last=80, target="10.10.2.2", target_port=8080,
    )  # fmt: skip
    text = operator.post(url(web_dom), typed(web_dom, zone=zones["zFulup"].pk, seen="old")).content.decode()
    assert "has changed since you looked" in text
    assert not Job.objects.exists()


def test_another_owner_first_says_whose_keys_stay_and_whose_grants_end(operator, web_dom, dominig, brendan, fulup):
    from accounts.models import SSHKey
    from machines.models import Grant

    web_dom.ssh_keys.add(SSHKey.objects.create(user=dominig, name="laptop", line="k", fingerprint="SHA256:a"))
    Grant.objects.create(machine=web_dom, user=fulup, verbs=",view,")
    text = operator.post(url(web_dom), typed(web_dom, owner=brendan.own.pk)).content.decode()
    assert "These SSH keys of dominig stay on it" in text
    assert "dominig, laptop" in text
    assert "let others do with it ends" in text
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("name", "", "required"),
        ("name", "-x", "Use "),
        ("memory_mib", "8", "16"),
        ("root_mib", "64", "only grows"),
        ("address", "10.10.1.9", "is not in zone zDominig"),
        ("zone", "999999", "valid choice"),
        ("start_order", "5000", "999"),
    ],
)
def test_what_can_not_be_is_said_beside_its_field_and_what_was_typed_stays(operator, web_dom, field, value, says):
    answer = operator.post(url(web_dom), typed(web_dom, **{field: value, "reason": "kept"}))
    text = answer.content.decode()
    assert answer.status_code == 422
    assert says in text
    assert 'value="kept"' in text
    assert not Job.objects.exists()


def test_while_a_job_is_open_there_is_no_form(operator, web_dom):
    operator.post(f"/machines/{web_dom.pk}/stop/")
    assert 'name="memory_mib"' not in operator.get(url(web_dom)).content.decode()
    answer = operator.post(url(web_dom), typed(web_dom, memory_mib=96))
    assert answer.status_code == 409
    assert "is still open for WEB-Dom" in answer.content.decode()


def test_half_way_it_says_so_and_leads_to_the_job(operator, web_dom):
    operator.post(url(web_dom), typed(web_dom, name="Post"))
    Job.objects.update(state=Job.State.FAILED, attempt=1)
    text = operator.get(url(web_dom)).content.decode()
    assert "is half-way" in text
    assert f"/jobs/{Job.objects.get().pk}/" in text
    assert 'name="memory_mib"' not in text


def test_a_guest_with_its_own_kernel_is_offered_the_hosts(operator, web_dom):
    web_dom.host.facts["libvirt"] = "xen:///system"
    web_dom.host.figures = {"kernels": [{"name": "vmlinuz-6.1.0-28-amd64"}]}
    web_dom.host.save()
    text = operator.get(url(web_dom)).content.decode()
    assert "vmlinuz-6.1.0-28-amd64" in text
    assert "resize2fs /dev/xvda" in text
    wish = typed(web_dom, boot="host", kernel="vmlinuz-6.1.0-28-amd64", on_crash="restart")
    operator.post(url(web_dom), wish)
    assert Job.objects.get().args["change"] == {"kernel": "vmlinuz-6.1.0-28-amd64"}


def test_owners_have_no_such_page(client, dominig, web_dom):
    client.force_login(dominig)
    assert client.get(url(web_dom)).status_code == 404
    assert client.post(url(web_dom), typed(web_dom, memory_mib=96)).status_code == 404
    assert "/settings/" not in client.get(f"/machines/{web_dom.pk}/").content.decode()
    assert not Job.objects.exists()
