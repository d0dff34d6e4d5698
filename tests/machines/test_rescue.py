"""Rescuing a machine, and checking its filesystem: who may, what is asked for, what the plans say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.core.exceptions import PermissionDenied
from django.urls import reverse

from audit.log import Actor
from dom0.errors import Refused
from dom0.host import HostConfig
from dom0.state import Domain, Golden, Link, State, Volume
from hosts import work
from hosts.kinds import kind_of
from hosts.models import Job, JobSecret
from hosts.services import job_cancel, job_go_on
from machines import definition, doctor_services, plan_check, plan_rescue
from machines import rescue_services as services
from machines.kinds import spec_of
from machines.models import Grant, Image, Machine

CONFIG = HostConfig(name="ns3100421", libvirt="lxc:///system", volumes="/v")
XEN = replace(CONFIG, libvirt="xen:///system", volume_groups=("vg0",))


def actor(user):
    return Actor(id=user.pk, name=user.username)


def state_of(spec, *, running=True):
    root = Volume(
        name=spec.volume, path=spec.volume_path, size_bytes=spec.root.size_bytes, machine=spec.uuid,
        root=spec.root_mark, tuned="a/b/c", content="ext4",
    )  # fmt: skip
    normal = replace(spec, rescue=None)
    domain = Domain(name=spec.name, uuid=spec.uuid, running=running, definition=definition.definition_digest(normal))
    digest = spec.image.digest
    return State(
        volumes={spec.volume: root}, domains={spec.name: domain}, free_bytes=1 << 40, free_memory_mib=4096,
        links={spec.zone.bridge: Link(name=spec.zone.bridge, up=True)},
        goldens={digest: Golden(digest=digest, path="/g", size_bytes=1 << 20)},
    )  # fmt: skip


def after(plan, state):
    for step in plan.steps:
        state = step.after(state)
    return state


@pytest.fixture
def rescued(web_dom, image):
    web_dom.rescue = image
    web_dom.save()
    return web_dom


def test_the_plan_makes_the_throw_away_root_before_it_stops_the_machine_and_is_empty_afterwards(rescued):
    spec = spec_of(rescued, CONFIG)
    state = state_of(spec)
    plan = plan_rescue.plan_rescue(spec, state)
    order = [step.stage for step in plan.steps]
    assert order.index("tuneroot") < order.index("stop") < order.index("createvmconf") < order.index("start")
    assert not any(spec.volume in (key for _, key in step.relies_on) for step in plan.steps)
    assert plan_rescue.plan_rescue(spec, after(plan, state)).steps == ()


def test_the_way_back_zeroes_the_throw_away_root_and_nothing_else_and_is_empty_afterwards(rescued):
    spec = spec_of(rescued, CONFIG)
    inside = after(plan_rescue.plan_rescue(spec, state_of(spec)), state_of(spec))
    normal = replace(spec, rescue=None)
    plan = plan_rescue.plan_end(normal, inside, former="tiny", run=True)
    assert [step.stage for step in plan.steps if step.destroys] == ["lvmcreate"]
    assert "WEB-Dom-rescue" in next(step.title for step in plan.steps if step.destroys)
    left = after(plan, inside)
    assert set(left.volumes) == {spec.volume}
    assert plan_rescue.plan_end(normal, left, former="tiny", run=True).steps == ()


def test_somebody_elses_volume_of_that_name_is_refused(rescued):
    spec = spec_of(rescued, CONFIG)
    theirs = Volume(name="WEB-Dom-rescue", path="/v/WEB-Dom-rescue.img", size_bytes=1)
    with pytest.raises(Refused, match="not made by Fridu"):
        plan_rescue.plan_rescue(spec, state_of(spec).having("volumes", theirs.name, theirs))


def test_on_lxc_its_own_root_is_mounted_inside_and_on_xen_it_is_the_next_disk(rescued):
    on_lxc = definition.domain_xml(spec_of(rescued, CONFIG))
    assert '<target dir="/mnt/root"/>' in on_lxc
    assert '<fridu:own volume="/v/WEB-Dom-root.img"' in on_lxc
    assert '<fridu:root volume="/v/WEB-Dom-rescue.img"' in on_lxc
    assert "/mnt/log" not in on_lxc
    rescued.log_mib = 64
    on_lxc = definition.domain_xml(spec_of(rescued, CONFIG))
    assert '<fridu:own volume="/v/WEB-Dom-log.img"' in on_lxc
    assert '<target dir="/mnt/log"/>' in on_lxc
    assert "/var/log" not in on_lxc
    rescued.log_mib = 0
    rescued.volume_group, rescued.swap_mib = "vg0", 64
    on_xen = definition.domain_xml(spec_of(rescued, XEN))
    places = [on_xen.index(f'dev="/dev/vg0/WEB-Dom-{kind}"') for kind in ("rescue", "root", "swap")]
    assert places == sorted(places)
    assert [name for name in ("xvda", "xvdb", "xvdc", "xvdd") if f'dev="{name}"' in on_xen] == ["xvda", "xvdb", "xvdc"]


def test_without_a_rescue_the_definition_is_as_it_always_was(web_dom):
    assert "own" not in definition.domain_xml(spec_of(web_dom, CONFIG))


def test_its_owner_begins_and_ends_it_and_the_password_stands_on_one_page_only(client, dominig, web_dom, image):
    client.force_login(dominig)
    url = reverse("machines:rescue", args=(web_dom.pk,))
    assert "Start from a rescue image" in client.get(url).content.decode()
    shown = client.post(url, {"do": "begin", "image": image.pk})
    assert shown["Cache-Control"] == "no-store, private"
    job = Job.objects.get()
    secret = JobSecret.objects.get(job=job)
    assert secret.value not in str(job.args)
    web_dom.refresh_from_db()
    assert web_dom.rescue == image
    Job.objects.update(state="done")
    assert "is being rescued" in client.get(reverse("machines:detail", args=(web_dom.pk,))).content.decode()
    assert "End the rescue" in client.get(url).content.decode()
    client.post(url, {"do": "end"})
    web_dom.refresh_from_db()
    assert web_dom.rescue is None
    assert Job.objects.first().args["end"] is True


def test_a_wish_that_was_cancelled_is_none(dominig, web_dom, image):
    _, job = services.machine_rescue(actor(dominig), web_dom, image)
    job_cancel(actor(dominig), job)
    assert Machine.objects.get(pk=web_dom.pk).rescue is None
    _, job = services.machine_rescue(actor(dominig), web_dom, image)
    Job.objects.update(state="done")
    ending = services.rescue_end(actor(dominig), web_dom)
    job_cancel(actor(dominig), ending)
    assert Machine.objects.get(pk=web_dom.pk).rescue == image


def test_a_wish_that_was_refused_neither_goes_on_nor_takes_a_later_one_back(dominig, web_dom, image):
    """The machine would be booked as out of the rescue that it is in."""
    Machine.objects.filter(pk=web_dom.pk).update(wanted="stopped")
    _, refused = services.machine_rescue(actor(dominig), web_dom, image)
    work.close(refused, kind_of("machine.rescue"), "refused", "There is no room.")
    now = Machine.objects.get(pk=web_dom.pk)
    assert (now.rescue, now.wanted) == (None, "stopped")
    _, later = services.machine_rescue(actor(dominig), web_dom, image)
    Job.objects.filter(pk=later.pk).update(state="done", attempt=1)
    refused.refresh_from_db()
    job_go_on(actor(dominig), refused)
    refused.refresh_from_db()
    with pytest.raises(Refused, match="is over"):
        kind_of("machine.rescue").plan(refused, State(), CONFIG)
    job_cancel(actor(dominig), refused)
    assert Machine.objects.get(pk=web_dom.pk).rescue == image


@pytest.mark.parametrize("verbs", [",view,power,", ",view,rebuild,power,backup,"])
def test_who_may_not_be_root_on_it_may_not_rescue(client, brendan, web_dom, image, verbs):
    """In a rescue one is root beside all of the machine's data; whoever may reinstall it may only destroy that."""
    Grant.objects.create(machine=web_dom, user=brendan, verbs=verbs)
    client.force_login(brendan)
    assert client.get(reverse("machines:rescue", args=(web_dom.pk,))).status_code == 403
    with pytest.raises(PermissionDenied):
        services.machine_rescue(actor(brendan), web_dom, image)


def test_an_image_that_is_not_made_or_of_another_host_is_refused(dominig, web_dom):
    raw = Image.objects.create(host=web_dom.host, name="raw", archive="raw.tar", family="debian")
    with pytest.raises(Refused, match="has no such image"):
        services.machine_rescue(actor(dominig), web_dom, raw)


def test_a_check_needs_the_machine_off_and_is_done_once(web_dom):
    spec = spec_of(web_dom, CONFIG)
    with pytest.raises(Refused, match="WEB-Dom runs"):
        plan_check.plan_check(spec, state_of(spec), repair=False, done=False)
    plan = plan_check.plan_check(spec, state_of(spec, running=False), repair=True, done=False)
    assert plan.steps[0].shown.endswith("repair lxc:///system")
    assert plan_check.plan_check(spec, state_of(spec, running=False), repair=True, done=True).steps == ()


def test_the_check_is_offered_while_it_is_off(client, dominig, web_dom):
    client.force_login(dominig)
    page = reverse("machines:doctor", args=(web_dom.pk,))
    assert "Repair what needs no question" not in client.get(page).content.decode()
    Machine.objects.update(observed="stopped", wanted="stopped")
    assert "Repair what needs no question" in client.get(page).content.decode()
    client.post(reverse("machines:check", args=(web_dom.pk,)), {"do": "repair"})
    assert Job.objects.get().args == {"repair": True}
    assert doctor_services.latest_check(web_dom) == Job.objects.get()
