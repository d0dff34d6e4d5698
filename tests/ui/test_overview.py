"""The overview: what it says, whom it lets in, what it costs."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from audit import log
from firewall.models import PolicyCell, PublishedService, Revision, ZoneRestriction
from firewall.rows import site_of
from firewall.specs import as_dict
from fridu_site.network import network_of
from hosts.models import Job
from machines.models import Machine
from ui.drawing import WIDE, draw

PART = {"HX-Request": "true", "HX-Target": "network"}


@pytest.fixture
def publish(zones, host):
    def publish(name, port, target, *, external="zDominig", target_port=None):
        return PublishedService.objects.create(
            host=host,
            name=name,
            zone=zones["zDominig"] if target else None,
            external=zones[external].external if external else None,
            proto="tcp",
            port=port,
            port_last=port,
            target=target,
            target_port=target_port or port,
        )

    return publish


def live(host, author):
    return Revision.objects.create(
        host=host, number=1, site=as_dict(site_of(host)), files={}, digest="0" * 64, author=author, state="live"
    )


def more_machines(host, zones, image, owner, count):
    Machine.objects.bulk_create(
        Machine(
            host=host,
            zone=zones["zFulup" if n % 2 else "zDominig"],
            owner=owner,
            name=f"web-{n}",
            address=f"10.{20 + n % 2}.{n // 250}.{n % 250 + 2}",
            mac=f"aa:bb:cc:00:{n // 256:02x}:{n % 256:02x}",
            vif=f"fr{n + 100}",
            uid_base=65536 * (n + 1000),
            memory_mib=64,
            root_mib=128,
            image=image,
            observed="running",
            built_at=timezone.now(),
        )
        for n in range(count)
    )


def test_the_drawing_is_made_of_the_rows(host, fulup, zones, web_dom, publish):
    publish("DomiWEB", 80, "10.10.2.2", target_port=8080)
    publish("DomiSMTP", 25, "10.10.2.2", external="zFulup")
    publish("AdminVPN", 563, None, external=None)
    for source, target in (("vpn", "zone:1"), ("zone:1", "vpn"), ("zone:2", "dom0"), ("zone:1", "zone:2")):
        ports = "tcp:25" if target == "zone:2" else "all"
        PolicyCell.objects.create(host=host, source=source, target=target, ports=ports)
    ZoneRestriction.objects.create(
        zone=zones["zDominig"], name="DomiNoSPAM", direction="out", proto="tcp", port=25, port_last=25
    )
    live(host, fulup)
    site = network_of(host).site
    assert [(a.ip, a.nic) for a in site.addresses] == [("91.121.65.140", "eth0"), ("87.98.130.56", "eth0")]
    assert [(z.name, z.ext, z.net, [m.name for m in z.machines]) for z in site.zones] == [
        ("zFulup", "91.121.65.140", "10.10.1.1/24", []),
        ("zDominig", "87.98.130.56", "10.10.2.1/24", ["WEB-Dom"]),
    ]
    assert {s.said for s in site.services} == {
        "tcp 80 of 87.98.130.56 to WEB-Dom:8080",
        "tcp 25 of 91.121.65.140 to WEB-Dom:25",
    }
    assert site.dom0_ports == "22, 563"
    assert {(r.source, r.target, r.what) for r in site.policy} == {
        ("", "zFulup", "all"),
        ("zFulup", "", "all"),
        ("zFulup", "zDominig", "tcp 25"),
    }
    assert site.zones[1].limits == ("sends no tcp 25", "reaches all of dom0")
    assert "n-ppend" not in draw(site, WIDE)


def test_what_the_next_apply_changes_is_drawn_as_such(host, fulup, zones, web_dom, publish):
    old = publish("DomiFTP", 21, "10.10.2.2")
    live(host, fulup)
    old.delete()
    publish("DomiWEB", 80, "10.10.2.2")
    said = {s.said for s in network_of(host).site.services}
    assert said == {
        "tcp 80 of 87.98.130.56 to WEB-Dom:80 (not applied yet)",
        "tcp 21 of 87.98.130.56 to WEB-Dom:21 (still open until applied)",
    }


def test_a_service_that_leads_to_no_machine_shows_the_address(host, zones, publish):
    publish("DomiWEB", 80, "10.10.2.77")
    zone = network_of(host).site.zones[1]
    assert [(m.name, m.state) for m in zone.machines] == [("10.10.2.77", "none")]


def test_the_lead_counts_states(client, fulup, host, web_dom):
    client.force_login(fulup)
    assert "2 zones, 1 machine, running." in client.get("/").content.decode()
    Machine.objects.update(observed="missing")
    page = client.get("/").content.decode()
    assert "2 zones, 1 machine: 1 in trouble." in page
    assert "WEB-Dom is missing on the host" in page


def test_nothing_to_do_is_said(client, fulup, web_dom, publish, host):
    live(host, fulup)
    client.force_login(fulup)
    assert "Nothing needs you." in client.get("/").content.decode()


def test_what_failed_comes_before_what_waits(client, fulup, host, web_dom):
    for target, state in ((1, "planned"), (2, "failed")):
        Job.objects.create(
            kind="machine.start", host=host, title=f"Job-{state}", target_kind="thing", target_id=target,
            target_text="x", actor=fulup, state=state,
        )  # fmt: skip
    client.force_login(fulup)
    page = client.get("/").content.decode()
    assert page.index("Job-failed") < page.index("Job-planned")
    assert '<span class="n b">1<span class="vh"> failed' in page
    assert '<span class="n w">1<span class="vh"> waiting for you' in page


def test_a_silent_host_keeps_its_last_picture(client, fulup, host, web_dom):
    host.seen_at = timezone.now() - timedelta(minutes=4)
    host.save()
    client.force_login(fulup)
    page = client.get("/").content.decode()
    assert "ns3100421 does not answer." in page
    assert 'class="k-old"' in page
    assert 'class="k-run"' not in page


def test_no_host_yet_is_a_page_too(client, fulup):
    client.force_login(fulup)
    assert "No host yet" in client.get("/").content.decode()


def test_an_owner_is_led_to_his_machines_and_the_auditor_to_the_log(client, dominig, agnes, host):
    client.force_login(dominig)
    assert client.get("/").url == "/machines/mine/"
    assert client.get("/", headers=PART).url == "/machines/mine/"
    client.force_login(agnes)
    assert client.get("/").url == "/audit/"


def test_who_is_not_signed_in_learns_nothing(client, host, web_dom):
    gone = client.get("/", follow=True)
    assert gone.redirect_chain == [("/sign-in/?next=/", 302)]
    assert "WEB-Dom" not in gone.content.decode()


def test_the_drawing_asks_again_and_stays_while_nothing_changed(client, fulup, host, web_dom):
    client.force_login(fulup)
    page = client.get("/").content.decode()
    again = page.split('id="network" hx-get="')[1].split('"')[0].replace("&amp;", "&")
    same = client.get(again, headers=PART)
    assert same["HX-Reswap"] == "none"
    assert "<svg" not in same.content.decode()
    assert 'id="seen" hx-swap-oob="true"' in same.content.decode()
    Machine.objects.update(observed="stopped")
    other = client.get(again, headers=PART).content.decode()
    assert other.count("<svg class=") == 2
    assert "<html" not in other
    for own in ("needs", "network-list", "lead", "seen"):
        assert f'id="{own}"' in other


def test_two_hosts_are_one_drawing_each(client, fulup, host, web_dom):
    type(host).objects.create(name="zz-second", seen_at=timezone.now())
    client.force_login(fulup)
    assert "Network of ns3100421" in client.get("/").content.decode()
    assert "Network of zz-second: 0 zones, 0 machines" in client.get("/?host=zz-second").content.decode()
    assert client.get("/?host=nonsense").status_code == 200


@pytest.mark.parametrize("count", [10, 1000])
def test_it_takes_as_many_queries_for_many_as_for_few(
    client, fulup, dominig, host, zones, image, count, django_assert_max_num_queries
):
    more_machines(host, zones, image, dominig.own, count)
    client.force_login(fulup)
    page = client.get("/").content.decode()
    assert f"{count} machines" in page
    again = page.split('id="network" hx-get="')[1].split('"')[0].replace("&amp;", "&")
    with django_assert_max_num_queries(19):
        client.get(again, headers=PART)


def test_a_thousand_machines_are_not_listed_twice(client, fulup, dominig, host, zones, image):
    more_machines(host, zones, image, dominig.own, 301)
    client.force_login(fulup)
    assert "With 301 machines, their own page is the list" in client.get("/").content.decode()


def test_of_a_job_that_has_ended_only_its_end_is_told(client, fulup, host, web_dom):
    thing = log.Thing(kind="machine", id=str(web_dom.pk), text="WEB-Dom")
    actor = log.Actor(id=fulup.pk, name="fulup")
    for state in ("done", "running"):
        job = Job.objects.create(
            kind="machine.stop", host=host, title="Stop", target_id=web_dom.pk, actor=fulup, state=state
        )
        log.record(actor, "machine.stop", thing, job=job.pk, data={"asked": {}})
    log.record(actor, "machine.stop", thing, job=job.pk - 1, data={"state": "done"})
    client.force_login(fulup)
    page = client.get("/").content.decode()
    assert page.count("asked to stop machine WEB-Dom") == 1
    assert page.count("stopped machine WEB-Dom") == 1
