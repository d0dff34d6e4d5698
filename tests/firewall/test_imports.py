"""A rule file on top of a site: new, the same, different, only here; nothing half saved, no way closed unsaid."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied

from audit.log import Actor
from audit.models import Entry
from dom0.errors import Refused
from firewall import bundles, exporter, importer, imports, merging, rows, services
from firewall.models import CustomRule, PublishedService, ZoneRestriction
from firewall.specs import Cell, Ports
from hosts.models import Job
from machines.models import Expected, SiteDefaults
from tests.firewall.conftest import FIXTURES, HOST, sample, site_of
from zones.models import Zone
from zones.services import address_sync

pytestmark = pytest.mark.django_db
WEB = "CreateApp NAME=FulupWEB ZONE=zFulup EXT=tcp:80 INT=10.10.1.3:8080\n"


@pytest.fixture
def isp(me, host):
    """The production sample, imported."""
    address_sync(host)
    imports.import_rules(me, host, sample("production"))
    Job.objects.update(state="done")
    return host


def test_on_top_of_itself_everything_is_the_same(isp) -> None:
    report = imports.preview(isp, sample("production"))
    assert (report.made, report.changed, report.gone, report.clashes) == ((), (), (), ())
    assert "zone zFulup" in report.same
    assert "service FulupWEB" in report.same
    assert not report.does_something


def test_what_is_new_different_and_only_here_is_told_apart(isp) -> None:
    text = sample("production").replace("INT=10.10.1.3:8080", "INT=10.10.1.4:8080")
    text = text.replace("CreateApp NAME=DomiSSH", "CreateApp NAME=DomiShell")
    report = imports.preview(isp, text)
    assert report.made == ("service DomiShell: tcp 22 of 87.98.130.56 to 10.10.2.2, port 22",)
    assert report.changed == (
        "service FulupWEB: tcp 80 of 91.121.65.140 to 10.10.1.3, port 8080; "
        "in the file: tcp 80 of 91.121.65.140 to 10.10.1.4, port 8080",
    )
    assert report.gone == ("service DomiSSH: tcp 22 of 87.98.130.56 to 10.10.2.2, port 22",)
    assert "FulupWEB" in report.clashes[0]


def test_taken_exactly_the_panel_says_what_the_file_says(me, isp) -> None:
    text = sample("production").replace("INT=10.10.1.3:8080", "INT=10.10.1.4:8080")
    text = text.replace("CreateApp NAME=DomiSSH", "CreateApp NAME=DomiShell")
    text = text.replace(" DoIt iptables -A after-input -i tun+ -j ACCEPT", " #")
    imports.import_rules(me, isp, text, exact=True)
    wished = importer.read(text, host=imports._facts(rows.site_of(isp))).site
    site = rows.site_of(isp)
    assert set(site.services) == set(wished.services)
    assert set(site.policy) == set(wished.policy)
    assert imports.preview(isp, text, exact=True).does_something is False


def test_zones_the_file_does_not_name_are_left_alone_even_when_taken_exactly(me, isp) -> None:
    text = sample("production").split("CreateZone NAME=zDominig")[0] + WEB
    imports.import_rules(me, isp, text, exact=True)
    names = {s.name for s in rows.site_of(isp).services}
    assert names == {"FulupWEB", "DomiSMTP", "DomiWEB", "DomiSSH"}
    assert Zone.objects.count() == 2


def test_what_was_written_by_the_export_makes_the_very_site_again(me, isp) -> None:
    services.restriction_add(
        me, zone=Zone.objects.get(name="zDominig"), name="DNS", direction="out", action="DROP", proto="both", port=53,
        address="10.10.1.0/24",
    )  # fmt: skip
    services.policy_set(
        me, isp, [Cell(source="zFulup", target="internet", ports=(Ports(proto="tcp", first=80, last=90),))]
    )
    before, text = rows.site_of(isp), imports.export(isp)
    PublishedService.objects.all().delete()
    ZoneRestriction.objects.all().delete()
    imports.import_rules(me, isp, text, exact=True)
    after = rows.site_of(isp)
    assert (set(after.services), after.restrictions, after.policy) == (
        set(before.services),
        before.restrictions,
        before.policy,
    )
    assert imports.export(isp) == text


def test_lines_nothing_became_of_are_kept_and_offered_by_the_export(me, host) -> None:
    address_sync(host)
    imports.import_rules(me, host, sample("guru") + "\nmount -t nfs backup:/x /x\n")
    left = imports.review_of(host)
    assert len(left) == 6
    assert "mount -t nfs backup:/x /x" in left
    assert "#! Review mount -t nfs backup:/x /x" in imports.export(host)
    assert Entry.objects.get(action="firewall.import").data["review"] == list(left)
    imports.review_done(me, host)
    assert imports.review_of(host) == ()
    assert Entry.objects.filter(action="firewall.import").count() == 2


def test_an_own_rule_of_the_file_is_tried_before_it_is_a_wish(me, isp) -> None:
    rule = "-i eth0 -p tcp --dport 9100 -j ACCEPT"
    text = sample("production").replace("fi\n", f" DoIt iptables -A before-input {rule} # node exporter\nfi\n")
    report = imports.import_rules(me, isp, text)
    assert [(job.kind, job.args["rules"][0]["rule"]) for job in report.jobs] == [("firewall.try", rule)]
    assert not CustomRule.objects.exists()


def test_without_a_worker_a_file_with_own_rules_saves_nothing_at_all(me, host) -> None:
    address_sync(host)
    host.seen_at = None
    host.save()
    text = sample("production").replace("fi\n", " DoIt iptables -A before-input -s 198.51.100.7 -j DROP\nfi\n")
    with pytest.raises(Refused, match="does not answer"):
        imports.import_rules(me, host, text)
    assert not Zone.objects.exists()
    assert not PublishedService.objects.exists()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("#! Policy FROM=internet TO=zFulup PORTS=all", "published services only"),
        ("#! Policy FROM=zFulup TO=dom0 PORTS=tcp:22", "out of any machine's reach"),
        ("CreateApp NAME=SSH1 ZONE=zFulup EXT=tcp:22 INT=10.10.1.3:22", "tcp 22 of every external address"),
    ],
)
def test_what_could_never_be_applied_is_said_in_the_preview_and_saves_nothing(me, host, line, sentence) -> None:
    address_sync(host)
    text = f"{sample('production')}\n{line}\n"
    assert sentence in " ".join(imports.preview(host, text).clashes)
    with pytest.raises(Refused):
        imports.import_rules(me, host, text)
    assert not Zone.objects.exists()


def test_a_card_by_another_name_is_asked_for(me, host) -> None:
    host.facts["nics"] = [{"name": "enp3s0", "addresses": ["91.121.65.140", "87.98.130.56"]}]
    host.save()
    address_sync(host)
    report = imports.preview(host, sample("production"))
    assert report.asked == ("eth0",)
    assert report.clashes
    answered = imports.preview(host, sample("production"), answers={"eth0": "enp3s0"})
    assert (answered.asked, answered.clashes) == ((), ())


def test_only_operators_import_review_and_take_over(host, dominig) -> None:
    him = Actor(id=dominig.pk, name="dominig")
    with pytest.raises(PermissionDenied):
        imports.review_done(him, host)
    with pytest.raises(PermissionDenied):
        bundles.take_over(him, host, [("x", "10.10.1.2 a")])


# --- ways that would close --------------------------------------------------------------------------------------------


def closed(change: str, to: str, *, viewer: str = "", vpn_port: int = 0) -> str:
    before = site_of("production")
    after = importer.read(sample("production").replace(change, to), host=HOST).site
    merged = merging.merged(before, after, exact=True)
    return "\n".join(merging.ways_closed(before, merged.site, viewer=viewer, vpn_port=vpn_port))


def test_a_file_that_drops_the_vpns_port_is_told_above_all_to_who_comes_through_it() -> None:
    text = closed("CreateApp NAME=DOM0_VPNu ", "# ")
    assert "udp 44096 of dom0 closes (DOM0_VPNu), the admin VPN's own way in" in text
    assert "cut you off" not in text
    text = closed("CreateApp NAME=DOM0_VPNu ", "# ", viewer="10.10.95.40")
    assert "You come through it yourself, from 10.10.95.40: it would cut you off." in text


def test_a_vpn_whose_port_nothing_opens_is_told() -> None:
    assert "Nothing opens udp 1194" in closed("x", "x", vpn_port=1194)
    assert closed("x", "x", vpn_port=44096) == ""


def test_a_file_that_closes_the_vpns_way_to_dom0_names_what_stays() -> None:
    text = closed(" DoIt iptables -A after-input -i tun+ -j ACCEPT", " #")
    assert "The admin VPN reaches nothing of dom0 but ssh (tcp 22) and the panel (tcp 8000)" in text


def test_a_file_that_closes_a_zones_way_out_is_told() -> None:
    text = closed("fi\n", "fi\n#! Policy FROM=zFulup TO=internet PORTS=tcp:80\n")
    assert "zFulup → the Internet closes: no more everything, tcp 80 stays." in text


def test_ssh_led_to_a_machine_is_told() -> None:
    text = closed("NAME=FulupWEB ZONE=zFulup EXT=tcp:80", "NAME=FulupSSH ZONE=zFulup EXT=tcp:22")
    assert "tcp 22 of 91.121.65.140 leads to 10.10.1.3 from then on (FulupSSH)" in text


# --- a whole box ------------------------------------------------------------------------------------------------------


def box(*names: str) -> list[tuple[str, str]]:
    return [(name, (FIXTURES / "box" / name).read_text()) for name in names]


def test_a_whole_box_is_shown_and_taken_over_at_once(me, host, image) -> None:
    address_sync(host)
    files = [("production.rules", sample("production")), *box("hosts", "ethers", "Fridu-lvm.config", "VM-03")]
    shown = bundles.preview(host, files)
    assert "machine VM-03 kept at 10.10.1.3 in zFulup, aa:bb:cc:dd:ee:03" in shown.made
    assert "the site's default memory, 258 MB" in shown.made
    assert not Zone.objects.exists()
    done = bundles.take_over(me, host, files)
    assert [job.kind for job in done.jobs] == ["zone.create", "zone.create", "machine.expect"]
    kept = Expected.objects.get(name="VM-03")
    assert (kept.zone.name, kept.mac, kept.vif) == ("zFulup", "aa:bb:cc:dd:ee:03", "fr0a0a0103")
    assert kept.facts["memory_mib"] == 258
    assert SiteDefaults.objects.get().memory_mib == 258
    Job.objects.update(state="done")
    assert not bundles.preview(host, files).does_something


def test_bridges_of_xens_configuration_become_isolated_zones(me, host) -> None:
    address_sync(host)
    done = bundles.take_over(me, host, box("xend-config.sxp", "hosts", "ethers"))
    assert [(z.name, z.bridge, z.external) for z in Zone.objects.all()] == [
        (f"xen-br{n}", f"xen-br{n}", None) for n in (1, 2, 3)
    ]
    assert {e.zone.name for e in Expected.objects.all()} == {"xen-br1"}
    assert len(done.jobs) == 4


def test_findings_of_several_rule_files_keep_their_own_lines(host) -> None:
    address_sync(host)
    shown = bundles.preview(host, [("one", sample("production")), ("two", "rm -rf /\n")])
    two = [(said.file, said.number, said.text) for said in shown.lines if said.file == "two"]
    assert two == [("two", 1, "rm -rf /")]
    joined = bundles.preview(host, [("one", sample("production")), ("two", "CreateApp NAME=x\n")])
    assert [(s.number, s.text) for s in joined.lines if s.file == "two"] == [(1, "CreateApp NAME=x")]


def test_a_machine_in_the_way_saves_nothing_of_the_box(me, host, zones, web_dom) -> None:
    files = [("hosts", f"{web_dom.address} Other\n"), ("ethers", "02:00:00:00:00:01 Other\n")]
    shown = bundles.preview(host, files)
    assert shown.machines == ()
    assert any(
        "WEB-Dom's already" in f.sentence or "web-dom's already" in f.sentence for s in shown.lines for f in s.findings
    )


def test_the_export_reads_back_without_the_database() -> None:
    text = exporter.rule_file(site_of("production"))
    assert importer.read(text, host=HOST).site == site_of("production")
