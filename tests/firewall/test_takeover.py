"""An existing box is read from its own files: what it has, what does not fit, and nothing is ever run."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firewall.findings import Severity
from firewall.specs import Site
from firewall.takeover import box, content, guest, reading
from firewall.takeover.reading import Known, Takeover
from tests.firewall.conftest import FIXTURES, site_of

BOX = FIXTURES / "box"
ALL = ("hosts", "ethers", "Fridu-lvm.config", "xend-config.sxp", "VM-03", "xen-test", "drawing.txt")


def files(*names: str) -> list[tuple[str, str]]:
    return [(name, (BOX / name).read_text()) for name in names]


def read(*given: tuple[str, str] | str, site: Site | None = None, known: dict[str, Known] | None = None) -> Takeover:
    several = [files(each)[0] if isinstance(each, str) else each for each in given]
    return reading.read(several, site or site_of("production"), known=known)


def said(takeover: Takeover, file: str, line: int = 0) -> str:
    return "\n".join(str(t.finding) for t in takeover.told if t.file == file and line in (0, t.finding.line))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("hosts", "hosts"),
        ("ethers", "ethers"),
        ("Fridu-lvm.config", "config"),
        ("xend-config.sxp", "xend"),
        ("VM-03", "guest"),
        ("xen-test", "guest"),
        ("drawing.txt", "drawing"),
        ("../production.rules", "rules"),
        ("../guru.rules", "rules"),
        ("../simple.rules", "rules"),
    ],
)
def test_a_file_is_known_by_its_content_whatever_it_is_called(name: str, kind: str) -> None:
    assert content.kind_of((BOX / name).read_text()) == kind


def test_names_addresses_and_macs_of_the_originals_own_example_come_out() -> None:
    took = read("hosts", "ethers")
    assert [(m.name, m.address, m.mac, m.zone) for m in took.machines] == [
        ("VM-02", "10.10.1.2", "aa:bb:cc:dd:ee:02", "zFulup"),
        ("VM-03", "10.10.1.3", "aa:bb:cc:dd:ee:03", "zFulup"),
    ]
    assert "BR-01) is dom0 itself in zFulup" in said(took, "hosts", 3)
    assert said(took, "hosts", 2) == ""


def test_a_guests_file_is_read_as_data() -> None:
    one, findings = guest.read("VM-03", (BOX / "VM-03").read_text())
    assert one is not None
    assert (one.name, one.memory_mib, one.vcpus) == ("VM-03", 258, 1)
    assert one.cards[0] == guest.Card(line=7, mac="aa:bb:cc:dd:ee:03", bridge="xen-br1", vif="xen-com")
    assert one.disks == ("phy:/dev/SATA-160GA/VM-03-root,hda1,w", "phy:/dev/SATA-160GA/VM-03-swap,hda2,w")
    assert (one.kernel, one.root, one.extra) == (
        "/export/space/xen/boot/vmlinuz-xen",
        "/dev/hda1 ro",
        "3 xencons=tty",
    )
    assert not findings


@pytest.mark.parametrize(
    "line",
    [
        "import os; os.system('reboot')",
        "memory = int(open('/etc/shadow').read())",
        "vif = [ 'mac=' + randomMAC() ]",
        "disk = [ x for x in range(9) ]",
        "name = f'{__import__(chr(111))}'",
        "def f(): pass",
        "if True: name = 'b'",
        "extra = 'a' 'b' + c",
        "vif = [['mac=aa:bb:cc:dd:ee:ff']]",
        "vcpus = 2 ** 99",
        "x = (((((",
    ],
)
def test_what_would_have_to_be_run_is_told_and_left_alone(line: str) -> None:
    one, findings = guest.read("x", f'name = "a"\n{line}\nmemory = 64\n')
    assert one is not None
    assert (one.name, one.cards) == ("a", ())
    assert any(f.line == 2 and f.severity == Severity.WARNING for f in findings)


def test_the_rules_know_a_guest_only_by_an_interface_of_their_prefix() -> None:
    text = said(read("hosts", "ethers", "VM-03"), "VM-03", 7)
    assert "VM-03 has vifname=xen-com" in text
    assert "write vifname=fr0a0a0103" in text


def test_the_quick_starts_machine_lies_outside_its_bridge() -> None:
    took = read("xen-test")
    assert "its 10.10.12.4 is in no zone" in said(took, "xen-test")
    assert "Its bridge xen-br1 carries 10.10.1.0/24: 10.10.1.4 would fit." in said(took, "xen-test")
    assert took.machines == ()


def test_a_guest_on_another_bridge_than_its_address_is_left_out() -> None:
    moved = (BOX / "VM-03").read_text().replace("xen-br1", "xen-br2")
    took = read("hosts", "ethers", ("VM-03", moved))
    assert "VM-03 is on xen-br2, its address 10.10.1.3 is in 10.10.1.0/24 of zFulup on xen-br1" in said(took, "VM-03")
    assert [m.name for m in took.machines] == ["VM-02"]


def test_a_name_without_a_mac_keeps_its_address_and_is_told() -> None:
    took = read(("hosts", "10.10.1.2 Common\n"))
    assert [(m.name, m.mac) for m in took.machines] == [("Common", "")]
    assert "not in /etc/ethers: without a MAC it gets no lease" in said(took, "hosts", 1)


def test_a_mac_without_a_name_is_told() -> None:
    assert "no line of /etc/hosts and no guest names" in said(
        read("ethers", ("hosts", "10.10.1.2 VM-02\n")), "ethers", 3
    )


def test_a_mac_twice_leaves_the_second_out() -> None:
    took = read("hosts", ("ethers", "AA:BB:CC:DD:EE:02 VM-02\nAA:BB:CC:DD:EE:02 VM-03\n"))
    assert [m.name for m in took.machines] == ["VM-02"]
    assert "aa:bb:cc:dd:ee:02, which is VM-02's already" in said(took, "hosts", 5)


def test_an_address_twice_leaves_the_second_out() -> None:
    took = read(("hosts", "10.10.1.2 A\n10.10.1.2 B\n"))
    assert [m.name for m in took.machines] == ["A"]
    assert "10.10.1.2, which is A's already" in said(took, "hosts", 2)


def test_two_macs_for_one_machine_are_told_and_its_own_file_counts() -> None:
    took = read("hosts", ("ethers", "AA:BB:CC:DD:EE:99 VM-03\n"), "VM-03")
    assert {m.name: m.mac for m in took.machines}["VM-03"] == "aa:bb:cc:dd:ee:03"
    assert "/etc/ethers says aa:bb:cc:dd:ee:99; its own file counts" in said(took, "VM-03")


def test_an_address_in_no_zone_is_told_with_the_zones_there_are() -> None:
    took = read(("hosts", "10.10.12.5 WEB-Ful\n"), ("ethers", "aa:bb:cc:00:00:01 WEB-Ful\n"))
    assert "10.10.12.5, which is in no zone: zFulup 10.10.1.0/24, zDominig 10.10.2.0/24" in said(took, "hosts", 1)


def test_a_guest_without_an_entry_is_told_what_line_is_missing() -> None:
    text = "name = 'Lost'\nvif = ['bridge=xen-br1']\ndisk = []\n"
    assert "Add the line “ADDRESS Lost”" in said(read(("lost", text)), "lost")


def test_a_name_the_panel_cannot_have_comes_with_one_it_can() -> None:
    took = read(("hosts", "10.10.1.7 web_ful.fridu.org\n10.10.1.8 web.fridu.org\n"))
    assert "web-fridu-org would do" in said(took, "hosts", 2)
    assert took.machines == ()


def test_what_the_panel_has_already_is_known_and_what_it_has_otherwise_told() -> None:
    known = {"vm-02": Known(address="10.10.1.2", mac="aa:bb:cc:dd:ee:02"), "vm-03": Known(address="10.10.1.77")}
    took = read("hosts", "ethers", known=known)
    assert [(m.name, m.known) for m in took.machines] == [("VM-02", True)]
    assert "The panel has VM-03 at 10.10.1.77" in said(took, "hosts", 5)


def test_the_networks_script_gives_the_bridges_no_zone_has() -> None:
    took = read("xend-config.sxp")
    assert [(b.name, b.network) for b in took.bridges] == [("xen-br3", "10.10.3.0/24")]
    other = replace(site_of("production"), zones=(replace(site_of("production").zones[0], network="10.10.9.0/24"),))
    assert "xen-br1 carries 10.10.1.0/24 (10.10.1.1) here, but 10.10.9.0/24" in said(
        read("xend-config.sxp", site=other), "xend-config.sxp"
    )


def test_the_sites_defaults_are_told_with_what_they_become() -> None:
    took = read("Fridu-lvm.config")
    assert {s.key: s.value for s in took.settings}["vmram"] == "258"
    assert 'volume_groups = ["SATA-160GA"]' in said(took, "Fridu-lvm.config", 3)
    hostile = "vmram=$(reboot)\nrm -rf /\nvmram=64\nodd=1\n"
    text = said(read(("c", hostile)), "c")
    assert "needs a shell" in text
    assert "never run" in text
    assert "odd has no counterpart" in text


def test_the_drawing_of_the_production_sample_disagrees_with_its_rules() -> None:
    text = said(read("drawing.txt"), "drawing.txt")
    assert "The drawing puts 10.10.2.1 (zDominig) on xen-br3, the rules on xen-br2." in text
    assert "xen-br2 has 10.0.1.1 in the drawing, 10.10.2.1 (zDominig) in the rules." in text
    assert "10.10.12.5 is drawn, but in no zone of the rules." in text
    assert "10.10.1.3" in text
    assert "10.10.95" not in text


def test_what_nobody_knows_is_said_and_too_much_is_not_read() -> None:
    assert "Nothing in it is known" in said(read(("x", "hello\n")), "x")
    assert "Nothing in it is known" in said(read(("x", "10.10.1.2 a\n" * 40_000)), "x")


@settings(max_examples=200)
@given(
    st.text(max_size=400), st.sampled_from(["", "name = 'a'\nvif = [", "10.10.1.2 ", "aa:bb:cc:dd:ee:ff ", "lvmvg="])
)
def test_no_text_whatever_upsets_it(text: str, before: str) -> None:
    took = reading.read([("x", before + text), ("y", text)], site_of("production"))
    for told in took.told:
        assert told.finding.line >= 1


@pytest.mark.parametrize("text", ["name='a'\nvif=" + "[" * 90_000, "name='a'\ndisk=" + "'b'" * 60_000, "(" * 150_000])
def test_a_hostile_guest_costs_no_more_than_its_length(text: str) -> None:
    began = time.process_time()
    guest.read("x", text)
    assert time.process_time() - began < 30


def test_groups_and_odd_macs_are_no_cards() -> None:
    found, findings = box.ethers("01:00:5e:00:00:01 group\n1:2:3:4:5:6 short\nnonsense\n")
    assert [(e.mac, e.who) for e in found] == []
    assert len(findings) == 3
    assert box.ethers("2:b:c:d:e:f VM\n")[0][0].mac == "02:0b:0c:0d:0e:0f"
