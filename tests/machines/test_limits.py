"""What a machine may take: the plan, the words, who may set it, the page."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest
from django.core.exceptions import PermissionDenied, ValidationError

from audit.log import Actor
from dom0 import limits_file, shaping
from dom0.errors import Refused
from dom0.state import Domain, State
from hosts.kinds import kind_of
from hosts.models import Job
from machines import differences, limit_words, limits_services, limits_stages, plan
from machines.models import Machine
from machines.plan_limits import plan_limits
from machines.specs import LimitsSpec

WISH = LimitsSpec(net_in_kbit=8000, net_share_kbit=2000, cpu_cap=50, disk_kib_s=10_240)


def state_of(spec, **changes) -> State:
    domain = Domain(name=spec.name, uuid=spec.uuid, running=True)
    return State(domains=MappingProxyType({spec.name: domain}), **changes)


def stages_of(found) -> list[str]:
    return [type(step.action).__name__ for step in found.steps]


# -- the plan


def test_limits_are_kept_first_then_set_and_planned_again_there_is_nothing(spec):
    limited = replace(spec, limits=WISH)
    state = state_of(spec)
    first = plan_limits(limited, state)
    assert stages_of(first) == ["WriteFile", "Hand"]
    for step in first.steps:
        state = step.after(state)
    assert state.limits[spec.uuid] == "net to 8000 from 0; share 2000; cpu 0 50; disk 10240 0"
    assert plan_limits(limited, state).steps == ()
    lifted = plan_limits(spec, state)
    assert stages_of(lifted) == ["Hand", "RemoveFile"], "what is kept goes last: by it one knows what to take off"
    for step in lifted.steps:
        state = step.after(state)
    assert plan_limits(spec, state).steps == ()


def test_what_is_not_in_force_is_set_again_and_a_machine_that_is_off_needs_only_its_file(spec):
    limited = replace(spec, limits=WISH)
    kept = limits_stages.kept(limited).text
    files = MappingProxyType({limits_stages.path(spec): kept})
    assert stages_of(plan_limits(limited, state_of(spec, files=files))) == ["Hand"]
    odd = MappingProxyType({spec.uuid: "net ?"})
    assert stages_of(plan_limits(limited, state_of(spec, files=files, limits=odd))) == ["Hand"]
    assert stages_of(plan_limits(limited, State())) == ["WriteFile"]
    assert plan_limits(limited, State(files=files)).steps == ()


def test_a_start_sets_them_and_a_deletion_leaves_nothing(spec, bare):
    limited = replace(spec, limits=WISH)
    kept = MappingProxyType({limits_stages.path(spec): limits_stages.kept(limited).text})
    gone = plan.plan_delete(limited, replace(bare, files=kept))
    assert [step.stage for step in gone.steps if step.stage == "limits"] == ["limits", "limits"]
    hand = next(step.action for step in gone.steps if step.stage == "limits")
    assert limits_file.read(hand.stdin).said == ""


def test_the_kept_file_reads_back_and_what_is_none_is_refused(spec):
    kept = limits_stages.kept(replace(spec, limits=WISH))
    assert limits_file.read(kept.text) == kept
    for text in ("", "[]", "{}", kept.text.replace("8000", '"8000"'), kept.text.replace("8000", "-1")):
        with pytest.raises((ValueError, TypeError, AttributeError)):
            limits_file.read(text)


def test_disks_are_not_offered_where_they_were_not_shown_to_be_limited(spec):
    xen = replace(spec, place=replace(spec.place, libvirt="xen:///system"), limits=WISH)
    with pytest.raises(Refused, match="can't limit disks"):
        plan_limits(xen, state_of(spec))


# -- the shares


def test_shares_that_are_more_than_there_is_are_all_as_much_less():
    assert shaping.scaled({"a": 3000, "b": 1000, "c": 0}, 10_000) == {"a": 3000, "b": 1000}
    less = shaping.scaled({"a": 9000, "b": 3000}, 8000)
    assert sum(less.values()) <= 8000 - 80
    assert less["a"] == 3 * less["b"]


def test_each_machine_has_a_class_of_its_own_also_where_macs_end_alike():
    macs = [f"aa:bb:0{n}:0a:02:04" for n in range(5)] + ["aa:bb:0a:0a:02:05"]
    found = shaping.minors(macs)
    assert len(set(found.values())) == 6
    assert min(found.values()) > shaping.REST


# -- the words


@pytest.mark.parametrize(("typed", "kib"), [("10M", 10_240), ("512k", 512), ("1.5M", 1536), ("1GiB/s", 1 << 20)])
def test_a_disks_rate_is_bytes(typed, kib):
    assert limit_words.kib_s(typed) == kib


@pytest.mark.parametrize("typed", ["10", "fast", "-1M", "10Mbit", "1e3k"])
def test_what_is_no_rate_is_said_with_one_that_is(typed):
    with pytest.raises(ValueError, match="10M, 512k"):
        limit_words.kib_s(typed)


def test_what_is_typed_again_is_the_same():
    for rate in (0, 256, 10_240, 1 << 20):
        assert (limit_words.kib_s(limit_words.typed_kib_s(rate)) or 0) == rate


# -- the service


@pytest.fixture
def actor(fulup) -> Actor:
    return Actor(id=fulup.pk, name="fulup")


@pytest.fixture
def roomy(web_dom) -> Machine:
    """WEB-Dom, in a zone that carries 10 Mbit/s in and 20 out."""
    web_dom.zone.in_kbit, web_dom.zone.out_kbit = 10_000, 20_000
    web_dom.zone.save()
    web_dom.host.facts["libvirt"] = "lxc:///system"
    web_dom.host.save()
    return web_dom


def test_the_wish_is_the_jobs_until_it_has_ended_well_and_undo_leads_back(roomy, actor):
    job = limits_services.machine_limits(actor, roomy, net_in_kbit=5000, cpu_cap=50)
    assert job.args == {"change": {"net_in_kbit": 5000, "cpu_cap": 50}, "former": {"net_in_kbit": 0, "cpu_cap": 0}}
    roomy.refresh_from_db()
    assert (roomy.net_in_kbit, roomy.cpu_cap) == (0, 0)
    Job.objects.filter(pk=job.pk).update(state="done")
    kind_of("machine.limits").done(job)
    roomy.refresh_from_db()
    assert (roomy.net_in_kbit, roomy.cpu_cap) == (5000, 50)
    job.refresh_from_db()
    back = kind_of("machine.limits").undo(actor, job)
    assert back.args["change"] == {"net_in_kbit": 0, "cpu_cap": 0}
    assert back.title == "Lift the limits of WEB-Dom"


@pytest.mark.parametrize(
    ("wish", "field", "says"),
    [
        ({"net_in_kbit": 10}, "net_in_kbit", "between 64 kbit/s and"),
        ({"cpu_weight": 5}, "cpu_weight", "256 is usual"),
        ({"cpu_cap": 250}, "cpu_cap", "vCPUs alone keep it to 100"),
        ({"disk_kib_s": 16}, "disk_kib_s", "10M"),
        ({"disk_iops": 1}, "disk_iops", "use for example 200"),
        ({"net_share_kbit": 4000, "net_out_kbit": 2000}, "net_share_kbit", "more than it may take: 2 Mbit/s. Use 2M"),
        ({"net_share_kbit": 9950}, "net_share_kbit", "9.9 Mbit/s is left to promise"),
    ],
)
def test_what_no_machine_can_have_is_said_beside_its_field_with_a_value_that_works(roomy, actor, wish, field, says):
    with pytest.raises(ValidationError) as found:
        limits_services.machine_limits(actor, roomy, **wish)
    assert says in " ".join(found.value.message_dict[field])
    assert not Job.objects.exists()


def test_what_is_promised_to_others_is_not_promised_twice(roomy, actor):
    values = Machine.objects.filter(pk=roomy.pk).values().get()
    other = {"name": "Other", "address": "10.10.2.77", "mac": "aa:bb:0a:0a:02:4d", "vif": "fr0a0a024d"}
    del values["id"], values["uuid"]
    Machine.objects.create(**{**values, **other, "uid_base": values["uid_base"] + 65_536, "net_share_kbit": 7000})
    assert limits_services.left_to_share(roomy.zone, roomy) == 2900
    with pytest.raises(ValidationError, match=r"2\.9 Mbit/s is left"):
        limits_services.machine_limits(actor, roomy, net_share_kbit=3000)
    assert limits_services.machine_limits(actor, roomy, net_share_kbit=2900).pk


def test_without_a_ceiling_of_its_zone_there_is_nothing_to_have_a_share_of(web_dom, actor):
    with pytest.raises(ValidationError, match="fridu zone change zDominig in=100M"):
        limits_services.machine_limits(actor, web_dom, net_share_kbit=1000)


def test_disks_of_a_xen_host_are_refused_in_words(roomy, actor):
    roomy.host.facts["libvirt"] = "xen:///system"
    roomy.host.save()
    with pytest.raises(ValidationError, match="can't limit disks"):
        limits_services.machine_limits(actor, roomy, disk_iops=100)


def test_its_owner_sets_none(roomy, dominig):
    with pytest.raises(PermissionDenied):
        limits_services.machine_limits(Actor(id=dominig.pk, name="dominig"), roomy, cpu_cap=50)


# -- the page


def test_an_operator_sees_the_form_with_what_is_free_and_gets_to_the_plan(client, fulup, roomy):
    client.force_login(fulup)
    url = f"/machines/{roomy.pk}/limits/"
    text = client.get(url).content.decode()
    assert "Up to 9.9 Mbit/s of zDominig is free" in text
    assert "No limits" in text
    answer = client.post(
        f"{url}change/", {"net_in_kbit": "5M", "cpu_cap": "50", "disk_kib_s": "10M", "reason": "noisy"}
    )
    job = Job.objects.get()
    assert answer["Location"] == f"/jobs/{job.pk}/"
    assert job.args["change"] == {"net_in_kbit": 5000, "cpu_cap": 50, "disk_kib_s": 10_240}
    assert (job.reason, job.approver) == ("noisy", None)
    assert "is still open for it" in client.get(url).content.decode()


def test_what_is_wrong_stands_beside_its_field_and_what_was_typed_stays(client, fulup, roomy):
    client.force_login(fulup)
    typed = {"net_in_kbit": "fast", "cpu_cap": "900", "disk_kib_s": "10Mbit", "reason": "kept"}
    answer = client.post(f"/machines/{roomy.pk}/limits/change/", typed)
    text = answer.content.decode()
    assert answer.status_code == 422
    assert "is no bandwidth" in text
    assert "is no rate of a disk" in text
    assert 'value="kept"' in text
    answer = client.post(f"/machines/{roomy.pk}/limits/change/", {"cpu_cap": "900"})
    assert "lies between 5 and 100" in answer.content.decode()
    assert not Job.objects.exists()


def test_its_owner_sees_what_is_set_and_no_form(client, dominig, roomy):
    Machine.objects.filter(pk=roomy.pk).update(net_in_kbit=5000, disk_iops=100)
    client.force_login(dominig)
    text = client.get(f"/machines/{roomy.pk}/limits/").content.decode()
    assert "5 Mbit/s" in text
    assert "100 reads a second" in text
    assert "<form" not in text.partition("<main")[2].partition("</main>")[0]
    assert "zDominig carries" not in text
    assert client.post(f"/machines/{roomy.pk}/limits/change/", {"cpu_cap": "50"}).status_code == 404


def test_on_a_xen_host_the_form_has_no_disks_and_says_why(client, fulup, roomy):
    roomy.host.facts["libvirt"] = "xen:///system"
    roomy.host.save()
    client.force_login(fulup)
    text = client.get(f"/machines/{roomy.pk}/limits/").content.decode()
    assert 'name="disk_iops"' not in text
    assert "Disks can’t be limited" in text


# -- differences


def test_limits_the_host_does_not_keep_or_keeps_of_its_own_are_a_difference(spec):
    limited = replace(spec, limits=WISH)
    kept = {limits_stages.path(spec): limits_stages.kept(limited).text}

    def found(wish, files) -> list[tuple[str, str]]:
        state = State(files=MappingProxyType(files))
        return [(one.wished, one.found) for one in differences._limits(wish, state)]

    assert found(limited, kept) == found(spec, {}) == []
    assert found(limited, {})[0][1] == "the host keeps none"
    assert found(limited, {limits_stages.path(spec): "{}"})[0][1] == "the host keeps others"
    assert found(spec, kept) == [("none", "the host keeps some")]
