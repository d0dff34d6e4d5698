"""Machines as wishes: what is saved, what is refused beside which field, what stands in the log."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied, ValidationError

from accounts.models import SSHKey
from audit.log import Actor
from audit.models import Entry
from dom0.errors import Refused
from hosts.models import Job, JobSecret
from hosts.services import job_cancel
from machines import addresses, kinds, passwords, published, services
from machines.models import Grant, Image, Machine, SiteDefaults
from machines.published import Published
from machines.specs import LOCKED, ROOT_HASH, UID_BLOCK

pytestmark = pytest.mark.django_db


@pytest.fixture
def actor(fulup) -> Actor:
    return Actor(id=fulup.pk, name="fulup")


@pytest.fixture
def create(actor, zones, image, dominig):
    def ask(**wish) -> Job:
        wanted = {"host": image.host, "zone": zones["zDominig"], "owner": dominig.own, "name": "Mail"}
        return services.machine_create(actor, **{**wanted, "address": "10.10.2.4", **wish})

    return ask


def complaints(create, **wish) -> dict[str, list[str]]:
    """What is said beside each field; nothing must have been saved."""
    before = (Machine.objects.count(), Job.objects.count(), Entry.objects.count())
    with pytest.raises(ValidationError) as error:
        create(**wish)
    assert (Machine.objects.count(), Job.objects.count(), Entry.objects.count()) == before
    return error.value.message_dict


# Creating


def test_name_and_address_are_enough_all_else_comes_from_the_sites_defaults(create, image):
    job = create()
    machine = Machine.objects.get(pk=job.target_id)
    defaults = SiteDefaults.objects.get(host=image.host)
    assert (machine.image, machine.memory_mib, machine.root_mib) == (image, defaults.memory_mib, defaults.root_mib)
    assert (job.kind, job.title, job.state) == ("machine.create", "Create Mail in zDominig", Job.State.PLANNING)
    assert machine.built_at is None


def test_a_machine_gets_a_mac_and_an_interface_that_follow_from_its_address(create):
    machine = Machine.objects.get(pk=create().target_id)
    assert (machine.mac, machine.vif) == ("aa:bb:0a:0a:02:04", "fr0a0a0204")
    assert len(machine.vif) <= 15


def test_a_machine_made_anew_at_an_address_has_the_same_mac_so_that_the_old_lease_fits():
    assert addresses.mac_of("10.10.2.4") == addresses.mac_of("10.10.2.4") != addresses.mac_of("10.10.2.5")


def test_each_machine_has_a_block_of_user_ids_of_its_own(create, web_dom):
    bases = [web_dom.uid_base]
    for n in range(4, 8):
        bases.append(Machine.objects.get(pk=create(name=f"M{n}", address=f"10.10.2.{n}").target_id).uid_base)
    assert all(base % UID_BLOCK == 0 for base in bases[1:])
    assert min(b - a for a, b in zip(sorted(bases), sorted(bases)[1:], strict=False)) >= UID_BLOCK


def test_when_the_user_ids_are_used_up_a_gap_is_taken(create, web_dom):
    Machine.objects.filter(pk=web_dom.pk).update(uid_base=services.LAST_UID)
    machine = Machine.objects.get(pk=create().target_id)
    assert machine.uid_base == services.FIRST_UID


def test_who_asked_for_what_stands_in_the_log(create, actor):
    job = create(reason="he needs mail")
    entry = Entry.objects.get(action="machine.create")
    assert (entry.actor_name, entry.object_text, entry.why, entry.job) == ("fulup", "Mail", "he needs mail", job.pk)
    assert entry.data["asked"]["address"] == "10.10.2.4"


def test_root_is_locked_unless_a_hash_is_given_and_that_is_a_secret(create):
    assert create().args["password"] == LOCKED
    root_hash = passwords.one_time()[1]
    job = create(name="Other", address="10.10.2.5", root_hash=root_hash)
    assert job.args["password"] not in (LOCKED, root_hash)
    assert JobSecret.objects.get(job=job).value == root_hash
    assert root_hash not in str([entry.data for entry in Entry.objects.all()])


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("it's", "letters, digits and hyphens"),
        ('say"hi', "letters, digits and hyphens"),
        ("two\nlines", "letters, digits and hyphens"),
        ("Mail\n", "letters, digits and hyphens"),
        ("../../etc", "letters, digits and hyphens"),
        ("-rf", "beginning with a letter"),
        ("", "WEB-Dom"),
        ("x" * 300, "this one has 300"),
        ("localhost", "localhost-1"),
        ("NS3100421", "already means something else"),
    ],
)
def test_it_refuses_a_name_that_is_none(create, name, says):
    (sentence,) = complaints(create, name=name)["name"]
    assert says in sentence


def test_it_refuses_a_name_that_is_taken_whatever_its_case_and_offers_one(create, web_dom):
    (sentence,) = complaints(create, name="web-dom")["name"]
    assert sentence == "WEB-Dom exists already, at 10.10.2.2. Choose another name, for example web-dom2."


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("10.99.1.60", "10.99.1.60 is not in zone zDominig (10.10.2.0/24). Free there: 10.10.2.3."),
        ("10.10.2.1", "10.10.2.1 is zDominig's gateway, dom0 itself. Free and next to it: 10.10.2.3."),
        ("10.10.2.2", "WEB-Dom has 10.10.2.2 already. Free and next to it: 10.10.2.3."),
        (
            "10.10.2.0",
            "10.10.2.0 stands for all of zDominig (10.10.2.0/24), not for one machine. Free and next to it: 10.10.2.3.",
        ),
        (
            "10.10.2.255",
            "10.10.2.255 stands for all of zDominig (10.10.2.0/24), not for one machine. "
            "Free and next to it: 10.10.2.254.",
        ),
        ("mail", "“mail” is not an address. Free there: 10.10.2.3."),
        ("", "“” is not an address. Free there: 10.10.2.3."),
        ("10.10.2.4/24", "“10.10.2.4/24” is not an address. Free there: 10.10.2.3."),
        ("fe80::1", "“fe80::1” is not an address. Free there: 10.10.2.3."),
    ],
)
def test_it_refuses_an_address_no_machine_there_can_have_and_says_which_it_can(create, web_dom, address, says):
    assert complaints(create, address=address)["address"] == [says]


def test_an_address_is_free_or_taken_as_a_number_not_as_text(create, web_dom):
    assert "not an address" in complaints(create, address="10.10.002.2")["address"][0]


def test_it_refuses_a_root_too_small_for_the_image(create):
    assert complaints(create, root_mib=17)["root_mib"] == ["tiny needs a root of at least 32 MB. Use 32 or more."]


def test_it_refuses_more_memory_than_the_host_has_free(create, host):
    host.figures = {"free_memory_mib": 500, "free_bytes": 1 << 40}
    host.save()
    says = "501 MB are more than the 500 MB free on ns3100421. Use 500 or less."
    assert complaints(create, memory_mib=501)["memory_mib"] == [says]


def test_it_refuses_more_disk_than_is_free_for_volumes(create, host):
    host.figures = {"free_memory_mib": 5000, "free_bytes": 300 << 20}
    host.save()
    assert "300 MB free for volumes" in complaints(create, root_mib=301)["root_mib"][0]


def test_every_wrong_field_gets_its_sentence_at_once(create):
    found = complaints(create, name="a b", address="1.2.3.4", memory_mib=1, root_mib=1, vcpus=0)
    assert set(found) == {"name", "address", "memory_mib", "root_mib", "vcpus"}
    assert all(len(sentences) == 1 for sentences in found.values())


def test_it_refuses_a_machine_without_an_image_where_the_site_has_none(create, image):
    SiteDefaults.objects.update(image=None)
    assert "no default one" in complaints(create)["image"][0]


def test_free_addresses_leave_out_the_gateway_the_ends_and_what_is_taken(zones, web_dom):
    zone = zones["zDominig"]
    assert services.free_addresses(zone, 3) == ["10.10.2.3", "10.10.2.4", "10.10.2.5"]
    assert len(services.free_addresses(zone, 1000)) == 254 - 2
    assert addresses.free_addresses(zone, 1, near="10.10.2.254") == ["10.10.2.253"]


def test_a_full_zone_says_so(create, zones, web_dom):
    zone = zones["zDominig"]
    zone.prefix = 29
    zone.save()
    for n in range(3, 7):
        create(name=f"M{n}", address=f"10.10.2.{n}")
    assert addresses.free_addresses(zone, 1) == []
    assert "zDominig is full" in complaints(create, name="More", address="10.10.2.6")["address"][0]


# What happens to a machine that is there


@pytest.mark.parametrize(
    ("service", "wanted"),
    [
        (services.machine_start, "running"),
        (services.machine_stop, "stopped"),
        (services.machine_reboot, "running"),
    ],
)
def test_power_is_a_wish_and_a_job_that_needs_no_approval(service, wanted, actor, web_dom):
    job = service(actor, web_dom)
    web_dom.refresh_from_db()
    assert web_dom.wanted == wanted
    assert job.approver_id is None
    assert kinds_of(job).approval == "none"
    assert kinds_of(job).queue == "power"


def kinds_of(job: Job):
    from hosts.kinds import kind_of

    return kind_of(job.kind)


def test_the_owner_may_do_with_his_machine_what_the_table_says(dominig, web_dom):
    owner = Actor(id=dominig.pk, name="dominig")
    assert services.machine_stop(owner, web_dom).kind == "machine.stop"
    with pytest.raises(PermissionDenied):
        services.machine_delete(owner, web_dom)


def test_somebody_elses_machine_is_nobodys_to_stop(brendan, web_dom):
    other = Actor(id=brendan.pk, name="brendan")
    for service in (services.machine_start, services.machine_stop, services.machine_reboot, services.machine_password):
        with pytest.raises(PermissionDenied):
            service(other, web_dom)
    Grant.objects.create(machine=web_dom, user=brendan, verbs=",power,")
    assert services.machine_stop(other, web_dom)
    with pytest.raises(PermissionDenied):
        services.machine_password(other, web_dom)


def test_an_auditor_changes_nothing(agnes, web_dom, zones, image, dominig):
    auditor = Actor(id=agnes.pk, name="agnes")
    with pytest.raises(PermissionDenied):
        services.machine_stop(auditor, web_dom)
    with pytest.raises(PermissionDenied):
        services.machine_create(
            auditor, host=image.host, zone=zones["zDominig"], owner=dominig.own, name="M", address="10.10.2.9"
        )


def test_the_one_time_password_is_shown_to_whoever_asked_and_only_its_hash_is_kept(actor, web_dom):
    password, job = services.machine_password(actor, web_dom)
    kept = JobSecret.objects.get(job=job, name=ROOT_HASH).value
    assert kept == passwords.hashed(password, kept.split("$")[2])
    assert len(password) == 20
    assert password not in str([*Entry.objects.values(), *Job.objects.values()])


def test_the_hash_is_the_one_every_shadow_file_knows():
    known = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
    assert passwords.hashed("Hello world!", "saltstring") == known


def test_the_chosen_keys_are_the_machines_keys(actor, web_dom, dominig):
    key = SSHKey.objects.create(user=dominig, name="laptop", line="ssh-ed25519 AAAA", fingerprint="SHA256:x")
    job = services.machine_key(actor, web_dom, [key])
    assert list(web_dom.ssh_keys.all()) == [key]
    assert job.args == {"keys": ["SHA256:x"]}


def test_keys_of_somebody_who_may_no_longer_sign_in_open_nothing(actor, web_dom, brendan, host, tmp_path):
    from dom0.host import HostConfig

    web_dom.ssh_keys.add(SSHKey.objects.create(user=brendan, name="old", line="ssh-rsa AAAA", fingerprint="SHA256:y"))
    config = HostConfig(name=host.name, libvirt="lxc:///system", volumes=str(tmp_path))
    assert kinds.spec_of(web_dom, config).keys == ("ssh-rsa AAAA",)
    brendan.is_active = False
    brendan.save()
    assert kinds.spec_of(web_dom, config).keys == ()


def test_an_unfinished_machine_is_gone_on_with_or_deleted_nothing_else(create, actor):
    machine = Machine.objects.get(pk=create().target_id)
    with pytest.raises(Refused, match="not finished"):
        services.machine_start(actor, machine)


def test_a_machine_that_is_being_deleted_takes_no_other_wish(actor, web_dom):
    services.machine_delete(actor, web_dom)
    with pytest.raises(Refused, match="being deleted"):
        services.machine_start(actor, web_dom)


def test_cancelling_a_creation_that_has_not_begun_takes_the_wish_back(create, actor):
    job = create()
    job_cancel(actor, job)
    assert not Machine.objects.filter(pk=job.target_id).exists()
    assert create().target_id != job.target_id


def test_cancelling_a_deletion_leaves_the_machine_as_it_was(actor, web_dom):
    job_cancel(actor, services.machine_delete(actor, web_dom))
    web_dom.refresh_from_db()
    assert not web_dom.deleting


def test_undoing_a_creation_asks_for_its_deletion(create, actor):
    job = create()
    Job.objects.filter(pk=job.pk).update(state=Job.State.FAILED)
    undo = kinds_of(job).undo(actor, job)
    assert (undo.kind, undo.target_id, undo.reason) == ("machine.delete", job.target_id, f"undo of job {job.pk}")


def test_no_machine_moves_into_a_zone_that_is_being_deleted(actor, zones, image, fulup):
    zone = zones["zFulup"]
    Job.objects.create(
        kind="zone.delete", host=zone.host, title="Delete", target_kind="zone", target_id=zone.pk,
        target_text=zone.name, actor=fulup, state="planned",
    )  # fmt: skip
    with pytest.raises(ValidationError) as refused:
        services.machine_create(actor, host=zone.host, zone=zone, owner=fulup.own, name="Late", address="10.10.1.9")
    assert "deletes zFulup" in refused.value.message_dict["zone"][0]


def test_a_machine_a_published_port_leads_to_is_not_deleted(actor, web_dom, monkeypatch):
    port = Published(name="DomiWEB", address="87.98.130.56", proto="tcp", port=80, port_last=80, target_port=8080)
    monkeypatch.setattr(published, "_providers", [lambda machines: {m.pk: [port] for m in machines}])
    with pytest.raises(Refused, match=r"DomiWEB \(tcp 80 of 87\.98\.130\.56\)"):
        services.machine_delete(actor, web_dom)
    web_dom.refresh_from_db()
    assert not web_dom.deleting


# Images and defaults


def test_an_image_is_known_by_its_digest_and_named_once(actor, host, image):
    with pytest.raises(ValidationError) as error:
        services.image_add(
            actor, host=host, name="Tiny", archive="t.tar.gz", digest="b" * 64, family="tiny", min_root_mib=32
        )
    assert "There is an image tiny already" in error.value.message_dict["name"][0]
    with pytest.raises(ValidationError) as error:
        services.image_add(
            actor, host=host, name="other", archive="../x", digest="b" * 63, family="bsd", min_root_mib=32
        )
    assert set(error.value.message_dict) == {"archive", "digest", "family"}
    assert Image.objects.count() == 1


def test_the_defaults_must_fit_their_image_and_their_change_is_logged(actor, host, image):
    with pytest.raises(ValidationError, match="at least 32 MB"):
        services.defaults_change(actor, host, image=image, memory_mib=64, root_mib=16, vcpus=1)
    services.defaults_change(actor, host, image=image, memory_mib=96, root_mib=64, vcpus=2)
    data = Entry.objects.get(action="defaults.change").data
    assert (data["was"]["memory_mib"], data["is"]["memory_mib"]) == (64, 96)


@pytest.mark.parametrize("observed", [Machine.Observed.RUNNING, Machine.Observed.PAUSED])
def test_where_the_host_shares_no_filesystem_root_is_let_in_on_a_machine_that_is_off_alone(
    observed, actor, web_dom, dominig
):
    key = SSHKey.objects.create(user=dominig, name="laptop", line="ssh-ed25519 AAAA", fingerprint="SHA256:x")
    web_dom.host.facts |= {"libvirt": "xen:///system"}
    web_dom.host.save()
    Machine.objects.filter(pk=web_dom.pk).update(observed=observed)
    before = list(web_dom.ssh_keys.all())
    with pytest.raises(Refused, match="WEB-Dom runs") as refused:
        services.machine_key(actor, web_dom, [key])
    assert "stop it first" in refused.value.note
    with pytest.raises(Refused, match="WEB-Dom runs"):
        services.machine_password(actor, web_dom)
    assert list(web_dom.ssh_keys.all()) == before
    Machine.objects.filter(pk=web_dom.pk).update(observed=Machine.Observed.STOPPED)
    assert services.machine_key(actor, web_dom, [key])
