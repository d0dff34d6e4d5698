"""The rule files as history left them: every mistake in them is found, on its line, in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from firewall import exporter, importer
from firewall.findings import Severity
from firewall.specs import Cell, CustomRule, Ports, Restriction, Site
from tests.firewall.conftest import HOST, check_golden, sample, site_of

SAMPLES = ("simple", "production", "guru", "quickstart")


def said(text: str, line: int, *, answers: dict[str, str] | None = None) -> str:
    return "\n".join(str(f) for f in importer.read(text, answers=answers).findings if f.line == line)


@pytest.mark.parametrize("name", SAMPLES)
def test_it_says_the_same_about_each_sample_as_the_golden_list(name: str) -> None:
    read = importer.read(sample(name))
    check_golden(f"{name}.findings", "".join(f"{f}\n" for f in read.findings))


def test_it_asks_for_the_address_behind_a_placeholder() -> None:
    read = importer.read(sample("simple"))
    assert read.asked == ("MyExternalIP",)
    assert "placeholder" in said(sample("simple"), 3)
    assert {s.name for s in read.left_out} == {"DOM_SSH", "VM1_SSH", "VM2_SSH"}


def test_an_answered_placeholder_makes_the_sample_whole() -> None:
    read = importer.read(sample("simple"), answers={"MyExternalIP": "203.0.113.9"})
    assert not read.findings
    assert [s.external for s in read.site.services] == [None, "203.0.113.9", "203.0.113.9"]


def test_it_says_that_a_target_in_another_zone_is_legal() -> None:
    text = said(sample("production"), 17)
    assert text.startswith("line 17: info")
    assert "DomiSMTP" in text
    assert "zFulup" in text


def test_it_finds_dom0s_ssh_shadowed_by_a_machines() -> None:
    text = said(sample("production"), 10)
    assert "87.98.130.56" in text
    assert "DomiSSH" in text
    assert "only on 91.121.65.140" in text


@pytest.mark.parametrize("line", [23, 24])
def test_it_finds_a_commented_restriction_of_a_zone_that_is_not_there(line: int) -> None:
    assert "names zone ZA" in said(sample("production"), line)


def test_it_says_that_the_first_custom_line_opens_every_zone_to_every_other() -> None:
    assert "every zone to every other" in said(sample("production"), 29)
    assert "zAdmin included, which has no Internet" in said(sample("guru"), 26)


@pytest.mark.parametrize("line", [13, 14, 15, 16, 17])
def test_it_leaves_out_a_service_whose_target_is_in_no_zone(line: int) -> None:
    assert "in no zone" in said(sample("guru"), line)


def test_it_notices_sip_on_a_port_with_two_digits_exchanged() -> None:
    assert "SIP usually is 5060" in said(sample("guru"), 13)


def test_it_finds_the_quick_starts_machine_outside_its_bridge() -> None:
    text = said(sample("quickstart"), 3)
    assert "10.10.12.4, which is outside 10.10.1.0/24" in text
    assert "10.10.1.4 would fit" in text


def test_the_four_custom_lines_become_exactly_the_policy_grid(production: Site) -> None:
    cells = {(c.source, c.target) for c in production.policy}
    assert all(c.everything for c in production.policy)
    assert cells == {
        ("zFulup", "internet"),
        ("zDominig", "internet"),
        ("zFulup", "zDominig"),
        ("zDominig", "zFulup"),
        ("vpn", "zFulup"),
        ("vpn", "zDominig"),
        ("vpn", "dom0"),
        ("zFulup", "vpn"),
        ("zDominig", "vpn"),
    }
    assert production.custom == ()


def test_without_a_host_the_vpn_is_the_one_the_lines_name() -> None:
    site = importer.read(sample("production")).site
    assert site.vpn is not None
    assert site.vpn.interface == "tun+"


def test_a_line_that_is_no_cell_stays_the_operators_own_rule() -> None:
    text = sample("guru").replace(
        "fi\n", " DoIt iptables -A before-input -i eth0 -s 198.51.100.0/24 -j DROP # pest\nfi\n"
    )
    read = importer.read(text)
    assert [(r.place, r.rule) for r in read.site.custom] == [("before-input", "-i eth0 -s 198.51.100.0/24 -j DROP")]


@pytest.mark.parametrize(
    "line",
    [
        "rm -rf /",
        "IP=$(curl evil)",
        "IP=`id`",
        "source /etc/passwd",
        "CreateZone NAME=z NIC=eth0 EXT=$UNSET BR=xen-br9 INT=10.10.9.1 MASK=255.255.255.0",
        "CreateApp NAME=a;reboot ZONE=none EXT=tcp:1 INT=eth0",
        "CreateApp NAME=a ZONE=none EXT=tcp:0 INT=eth0",
        "CreateApp NAME=a ZONE=none EXT=tcp:70000 INT=eth0",
        "CreateApp NAME=a ZONE=none EXT=tcp:90-80 INT=eth0",
        "CreateApp NAME=a ZONE=zGone EXT=tcp:80 INT=10.10.1.2:80",
        "CreateApp NAME=a NAME=b ZONE=none EXT=tcp:80 INT=eth0",
        "CreateApp NAME=a ZONE=none EXT=tcp:80",
        "CreateApp NAME=a ZONE=none EXT=tcp:80 INT=eth0 COLOUR=red",
        "CreateZone NAME=vpn NIC=eth0 EXT=1.2.3.4 BR=xen-br9 INT=10.10.9.1 MASK=255.255.255.0",
        "CreateZone NAME=z NIC=none EXT=1.2.3.4 BR=xen-br9 INT=10.10.9.1 MASK=255.255.255.0",
        "CreateZone NAME=z NIC=eth0 EXT=none BR=a-bridge-name-that-is-long INT=10.10.9.1 MASK=255.255.255.0",
        "CreateZone NAME=z NIC=eth0 EXT=none BR=xen-br9 INT=10.10.9.1 MASK=255.255.255.7",
        "TuneZone NAME=t ZONE=zGone DIR=out ACTION=DROP PORT=tcp:25",
    ],
)
def test_a_line_it_cannot_take_is_an_error_on_that_line_and_changes_nothing(line: str) -> None:
    before = importer.read(sample("production"))
    after = importer.read(line + "\n" + sample("production"))
    assert [f.severity for f in after.findings if f.line == 1] == [Severity.ERROR]
    assert after.site == before.site


def test_it_refuses_a_bridge_a_name_and_a_subnet_used_by_another_zone() -> None:
    zone = "CreateZone NAME={} NIC=eth0 EXT=1.2.3.4 BR={} INT={} MASK=255.255.255.0\n"
    first = zone.format("zA", "xen-br1", "10.10.1.1")
    for second in (("zA", "xen-br2", "10.10.2.1"), ("zB", "xen-br1", "10.10.2.1"), ("zB", "xen-br2", "10.10.1.9")):
        read = importer.read(first + zone.format(*second))
        assert len(read.site.zones) == 1
        assert [f.line for f in read.errors] == [2]


def test_it_refuses_a_port_published_twice() -> None:
    text = sample("production") + "CreateApp NAME=Twice ZONE=zFulup EXT=tcp:70-90 INT=10.10.1.3:7000\n"
    read = importer.read(text)
    assert "already published as FulupWEB" in read.errors[0].sentence
    assert [s.name for s in read.left_out] == ["Twice"]


def test_line_ends_of_windows_change_nothing() -> None:
    assert importer.read(sample("guru").replace("\n", "\r\n")) == importer.read(sample("guru"))


@pytest.mark.parametrize("name", ["simple", "production", "guru"])
def test_what_is_exported_reads_back_as_the_same_site(name: str) -> None:
    site = site_of(name)
    again = importer.read(exporter.rule_file(site), host=HOST)
    assert not again.errors
    assert same(again.site) == same(site)
    assert exporter.rule_file(again.site) == exporter.rule_file(site)


def test_what_the_seed_has_no_word_for_survives_the_export() -> None:
    base = site_of("guru")
    tcp = Ports(proto="tcp", first=80, last=90)
    cells = [c for c in base.policy if (c.source, c.target) != ("zFulup", "internet")]
    site = replace(
        base,
        policy=(
            *cells,
            Cell(source="zFulup", target="internet", ports=(tcp,)),
            Cell(source="zAdmin", target="dom0", ports=(tcp,)),
        ),
        restrictions=(
            Restriction(name="ONLY", zone=2, direction="in", action="REJECT", ports=tcp, address="10.10.3.0/24"),
        ),
        custom=(
            CustomRule(place="before-output", rule="-p tcp --dport 25 -j DROP", reason="from line 21 of the rule file"),
        ),
    )
    again = importer.read(exporter.rule_file(site), host=HOST).site
    assert same(replace(again, custom=())) == same(replace(site, custom=()))
    assert [r.rule for r in again.custom] == [r.rule for r in site.custom]


def same(site: Site) -> Site:
    """The site with its policy in one order: the file says cells where the seed's words put them."""
    return replace(site, policy=tuple(sorted(site.policy, key=lambda c: (c.source, c.target))))


def test_a_name_on_a_line_that_was_left_out_is_free_for_the_next() -> None:
    bad = "CreateZone NAME=zA NIC=eth0 EXT=1.2.3.4 BR=xen-br1 INT=10.10.1.1 MASK=255.255.255.7\n"
    good = bad.replace("255.7", "255.0")
    assert [z.name for z in importer.read(bad + good).site.zones] == ["zA"]
    app = "CreateApp NAME=One ZONE={} EXT=tcp:80 INT=10.10.1.2:80\n"
    assert [s.name for s in importer.read(good + app.format("zGone") + app.format("zA")).site.services] == ["One"]


def test_a_file_of_thousands_of_services_is_read_whole() -> None:
    zone = "CreateZone NAME=zA NIC=eth0 EXT=1.2.3.4 BR=xen-br1 INT=10.90.0.1 MASK=255.255.0.0\n"
    lines = [f"CreateApp NAME=S{n} ZONE=zA EXT=tcp:{1000 + n} INT=10.90.1.{2 + n % 200}:80\n" for n in range(4900)]
    assert len(importer.read(zone + "".join(lines)).site.services) == 4900


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (
            "CreateZone NAME=z_A NIC=none EXT=none BR=xen-br9 INT=10.10.9.1 MASK=255.255.255.0",
            "letters, digits and hyphens",
        ),
        (
            "CreateZone NAME=zLongerThanFifteen NIC=none EXT=none BR=xen-br9 INT=10.10.9.1 MASK=255.255.255.0",
            "at most 14",
        ),
        ("CreateZone NAME=zA NIC=none EXT=none BR=xen-br9 INT=10.10.9.0 MASK=255.255.255.0", "10.10.9.1 would do"),
        ("CreateZone NAME=zA NIC=none EXT=none BR=xen-br9 INT=10.10.9.255 MASK=255.255.255.0", "stands for all of"),
        ("CreateZone NAME=zA NIC=none EXT=none BR=xen-br9 INT=10.10.9.1 MASK=255.255.255.255", "8 to 65,536"),
        ("CreateZone NAME=zA NIC=none EXT=none BR=xen-br9 INT=10.0.0.1 MASK=255.0.0.0", "8 to 65,536"),
        ("CreateZone NAME=zA NIC=none EXT=none BR=xen-br9 INT=8.8.8.1 MASK=255.255.255.0", "not a private subnet"),
        ("CreateZone NAME=zA NIC=none EXT=none BR=xen-br9 INT=10.10.95.1 MASK=255.255.255.0", "overlaps the admin VPN"),
        ("CreateZone NAME=zA NIC=wlan^0 EXT=1.2.3.4 BR=xen-br9 INT=10.10.9.1 MASK=255.255.255.0", "no network card"),
        ("CreateApp NAME=a ZONE=none EXT=tcp:80 INT=10.10.1.2:80", "name the zone"),
        ("CreateApp NAME=a ZONE=zFulup EXT=tcp:81 INT=10.10.1.1:80", "dom0 itself in zFulup"),
        ("#! Nonsense", "After `#!` only"),
        ("#! Policy FROM=zGone TO=vpn PORTS=all", "no zGone here"),
        ("#! CreateApp NAME=a ZONE=zFulup EXT=tcp:81 INT=10.10.1.2:80 ;#! ON=9.9.9.9", "says which card has it"),
        ("A" * 2000, "no rule is so long"),
    ],
)
def test_what_the_panel_could_not_make_is_said_on_its_line(line: str, sentence: str) -> None:
    read = importer.read(f"{sample('production')}\n{line}\n", host=HOST)
    assert sentence in " ".join(f.sentence for f in read.errors)
    assert read.review[-1].text == line[:1000]
    assert len(read.site.zones) == 2


def test_variables_reach_the_custom_lines_and_their_comments_become_reasons() -> None:
    text = sample("production").replace(
        "fi\n", " DoIt iptables -A before-input -d $IP_ONE -p tcp --dport 9100 -j ACCEPT # node exporter\nfi\n"
    )
    (rule,) = importer.read(text, host=HOST).site.custom
    assert (rule.rule, rule.reason) == ("-d 91.121.65.140 -p tcp --dport 9100 -j ACCEPT", "node exporter")


def test_a_custom_line_no_own_rule_may_say_is_kept_for_review() -> None:
    line = "DoIt iptables -A before-output -j DROP"
    read = importer.read(sample("production").replace("fi\n", f" {line}\nfi\n"), host=HOST)
    assert "dom0's answers to you" in read.errors[0].sentence
    assert [u.text for u in read.review] == [line]
    assert read.site.custom == ()
