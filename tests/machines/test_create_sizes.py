"""What a new machine gets besides name and address: chosen, by the site's default, or promised to others."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied, ValidationError

from audit.log import Actor
from audit.models import Entry
from dom0.errors import Refused
from hosts.facts import lines
from hosts.models import Job
from machines import create_kinds, promises, services
from machines.create_services import machine_stages
from machines.models import Machine, SiteDefaults

pytestmark = pytest.mark.django_db
URL = "/machines/new/"
GB = 1 << 30


@pytest.fixture
def actor(fulup) -> Actor:
    return Actor(id=fulup.pk, name="fulup")


@pytest.fixture
def dom0(host, image):
    host.facts |= {"libvirt": "xen:///system", "volume_groups": ["vg0", "vg1"], "reserved_memory_mib": 256}
    host.figures = {
        "free_bytes": 40 * GB,
        "free_memory_mib": 1000,
        "places": {"vg0": {"size_bytes": 50 * GB, "free_bytes": 12 * GB}},
        "kernels": [{"name": "vmlinuz-6.1.0", "initrd": "initrd.img-6.1.0"}],
    }
    host.save()
    return host


@pytest.fixture
def operator(client, fulup, zones, dom0):
    client.force_login(fulup)
    return client


def ask(actor, zone, number: int, **wish) -> Machine:
    wanted = {"host": zone.host, "zone": zone, "owner": zone_owner(), "name": f"m{number}"}
    job = services.machine_create(actor, **wanted, address=f"10.10.2.{number}", **wish)
    return Machine.objects.get(pk=job.target_id)


def zone_owner():
    from accounts.models import Owner

    return Owner.objects.first()


def test_the_form_offers_the_hosts_groups_with_their_room_its_kernels_and_its_memory(operator):
    text = operator.get(URL).content.decode()
    assert '<option value="vg0">Volume group vg0, 12 GB free of 50 GB</option>' in text
    assert "Volume group vg1, missing now" in text
    assert text.count("There is no default; choose one") == 2, "neither group nor kernel"
    assert '<details class="f" id="sizes" open>' in text, "what has to be chosen is in sight"
    assert "Image files" not in text, "not under Xen"
    assert '<option value="host:vmlinuz-6.1.0">' in text
    assert "Grub, running inside the machine" in text
    assert "1000 MB free on ns3100421." in text


def test_everything_chosen_in_the_form_is_wished(operator, dominig):
    posted = {
        "name": "Choir", "address": "10.10.2.6", "owner": dominig.own.pk, "volume_group": "vg0", "swap_mib": "64",
        "log_mib": "100", "filesystem": "ext3", "kernel": "host:vmlinuz-6.1.0", "start_order": "7",
        "installroot": "no", "tuneroot": "no", "start": "no",
    }  # fmt: skip
    answer = operator.post(URL, posted)
    job = Job.objects.get()
    assert answer["Location"] == f"/jobs/{job.pk}/"
    one = Machine.objects.get()
    assert (one.volume_group, one.swap_mib, one.log_mib, one.filesystem) == ("vg0", 64, 100, "ext3")
    assert (one.boot, one.kernel, one.start_order, one.autostart) == ("host", "vmlinuz-6.1.0", 7, False)
    assert job.args["stages"] == {"installroot": "no", "tuneroot": "no", "start": "no"}
    assert one.wanted == "stopped"


def test_what_cannot_be_is_said_beside_its_field_and_stays_typed(operator, dominig):
    posted = {"name": "Choir", "address": "10.10.2.6", "owner": dominig.own.pk, "volume_group": "vg1", "log_mib": "9"}
    answer = operator.post(URL, posted)
    text = answer.content.decode()
    assert answer.status_code == 422
    assert "The volume group vg1 is missing on ns3100421." in text
    assert '<details class="f" id="sizes" open>' in text
    posted |= {"volume_group": "vg0", "fscreate": "only", "start": "force"}
    answer = operator.post(URL, posted)
    assert "fscreate=only leaves out every other stage" in answer.content.decode()
    assert '<details class="f" id="stages" open>' in answer.content.decode()
    assert not Machine.objects.exists()


def test_an_lxc_hosts_form_says_why_there_is_no_swap_and_no_kernel_to_choose(client, fulup, zones, image):
    client.force_login(fulup)
    text = client.get(URL).content.decode()
    assert "An lxc machine shares the host&#x27;s memory and swap" in text
    assert 'name="kernel"' not in text


def test_the_sites_defaults_hold_where_nothing_is_chosen_and_give_way_where_something_is(operator, actor, zones, dom0):
    answer = operator.post(
        "/machines/defaults/",
        {"memory_mib": "96", "root_mib": "200", "vcpus": "2", "volume_group": "vg0", "swap_mib": "32", "log_mib": "16",
         "filesystem": "ext3", "kernel": "host:vmlinuz-6.1.0", "start": "no",
         "image": SiteDefaults.objects.get().image_id},
    )  # fmt: skip
    assert answer.status_code == 302
    assert Entry.objects.filter(action="defaults.change").count() == 1
    one = ask(actor, zones["zDominig"], 6)
    assert (one.volume_group, one.swap_mib, one.log_mib, one.filesystem) == ("vg0", 32, 16, "ext3")
    assert (one.kernel, one.wanted) == ("vmlinuz-6.1.0", "stopped")
    two = ask(actor, zones["zDominig"], 7, swap_mib=0, boot="grub", stages={"start": "yes"})
    assert (two.volume_group, two.swap_mib, two.log_mib) == ("vg0", 0, 16)
    assert (two.boot, two.kernel, two.wanted) == ("grub", "", "running")


def test_memory_asked_for_earlier_is_promised_and_the_host_does_not_give_it_twice(actor, zones, dom0):
    first = ask(actor, zones["zDominig"], 6, memory_mib=600, volume_group="vg0")
    with pytest.raises(ValidationError) as error:
        ask(actor, zones["zDominig"], 7, memory_mib=600, volume_group="vg0")
    assert error.value.message_dict["memory_mib"] == [
        "600 MB are more than the 400 MB free on ns3100421, 600 MB being promised to machines about to start. "
        "Use 400 or less."
    ]
    ask(actor, zones["zDominig"], 8, memory_mib=300, volume_group="vg0")
    jobs = list(Job.objects.order_by("pk"))
    promised = [promises.memory_mib(dom0, before=job, but=job.target_id) for job in jobs]
    assert promised == [0, 600]  # whoever asked first waits for nobody
    Machine.objects.filter(pk=first.pk).update(observed="running")
    assert promises.memory_mib(dom0, before=jobs[1]) == 0
    Machine.objects.filter(pk=first.pk).update(observed="unknown")
    Job.objects.filter(pk=jobs[0].pk).update(state="refused")
    assert promises.memory_mib(dom0, before=jobs[1]) == 0


def test_under_xen_no_volume_is_an_image_file(actor, zones, dom0):
    with pytest.raises(ValidationError) as error:
        ask(actor, zones["zDominig"], 6)
    assert error.value.message_dict["volume_group"] == [
        "Under Xen a machine's volumes lie in a volume group, not in image files. "
        "Choose one (lvmvg=), or name one in the host file first: volume_groups."
    ]


def test_room_for_creations_under_way_is_free_no_more(actor, zones, dom0):
    ask(actor, zones["zDominig"], 6, volume_group="vg0", root_mib=8 * 1024, log_mib=1024)
    with pytest.raises(ValidationError) as error:
        ask(actor, zones["zDominig"], 7, volume_group="vg0", root_mib=4 * 1024)
    assert error.value.message_dict["root_mib"] == ["4096 MB are more than the 3072 MB free in vg0. Use 3072 or less."]


def test_the_hosts_page_shows_what_each_group_has_left(dom0):
    told = {fact.label: fact.text for fact in lines(dom0)}
    assert told["Volume group vg0"] == "12 GB free of 50 GB"
    assert told["Volume group vg1"] == "missing"
    assert told["Free memory"].endswith("256 MB kept for the host")


def test_stages_done_again_raise_the_generation_where_they_lose_something_and_go_back_when_taken_back(
    actor, web_dom, dominig
):
    job = machine_stages(actor, web_dom, {"installroot": "force"})
    web_dom.refresh_from_db()
    assert (job.kind, job.title) == ("machine.stages", "Do stages of WEB-Dom again: installroot=force")
    assert web_dom.root_generation == 2
    with pytest.raises(Refused, match="is not over"):
        machine_stages(actor, web_dom, {})
    from hosts.services import job_cancel

    job_cancel(actor, job)
    web_dom.refresh_from_db()
    assert web_dom.root_generation == 1
    machine_stages(actor, web_dom, {"tuneroot": "force"})
    web_dom.refresh_from_db()
    assert web_dom.root_generation == 1
    with pytest.raises(PermissionDenied):
        machine_stages(Actor(id=dominig.pk, name="dominig"), web_dom, {})


def test_a_machine_is_finished_once_its_stages_let_it_start(actor, zones, image):
    one = ask(actor, zones["zDominig"], 6, stages={"lvmcreate": "only"})
    job = Job.objects.get()
    assert job.args["stages"] == {"lvmcreate": "only"}
    Job.objects.update(state="done")
    create_kinds._created(job)
    one.refresh_from_db()
    assert (one.built_at, one.observed, one.wanted) == (None, "unknown", "stopped")
    again = machine_stages(actor, one, {"start": "no"})
    create_kinds._created(again)
    one.refresh_from_db()
    assert one.built_at is not None
    assert (one.observed, one.wanted) == ("stopped", "stopped")


def test_the_page_of_stages_asks_for_a_plan_and_an_owner_never_sees_it(client, fulup, dominig, web_dom):
    client.force_login(fulup)
    page = f"/machines/{web_dom.pk}/stages/"
    assert "Tell DHCP, DNS and the firewall." in client.get(page).content.decode()
    answer = client.post(page, {"updateether": "force", "start": "no", "reason": "its lease was lost"})
    job = Job.objects.get()
    assert answer["Location"] == f"/jobs/{job.pk}/"
    assert (job.args["stages"], job.reason) == ({"updateether": "force", "start": "no"}, "its lease was lost")
    assert client.post(page, {"start": "maybe"}).status_code == 422
    client.force_login(dominig)
    assert client.get(page).status_code == 404


@pytest.mark.parametrize(
    ("libvirt", "says"),
    [("lxc:///system", "locks root’s password"), ("xen:///system", "Forced tuning is refused once")],
)
def test_the_page_of_stages_says_what_forced_tuning_does_there(client, fulup, web_dom, libvirt, says):
    web_dom.host.facts |= {"libvirt": libvirt}
    web_dom.host.save()
    client.force_login(fulup)
    text = client.get(f"/machines/{web_dom.pk}/stages/").content.decode()
    assert says in text
    assert ("locks root’s password" in text) == (libvirt == "lxc:///system")
