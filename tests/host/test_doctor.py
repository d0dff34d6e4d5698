# ruff: noqa: E501 - lines of snippets
"""Each link between a machine and who wants to reach it, broken for real: the doctor names exactly that one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.host.test_machine_life import Box, box, mail, nothing_left  # noqa: F401

pytestmark = pytest.mark.host

ASK = """
from hosts import diagnosis
from machines import doctor_services

def ran(*argv):
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

def diagnosed(name="Mail"):
    job = doctor_services.machine_doctor(actor(), machine(name))
    carried(job)
    job.refresh_from_db()
    found = diagnosis.lines(job)
    first = diagnosis.first_bad(found)
    return {
        "state": job.state, "message": job.message,
        "found": {line.stage: line.found.verdict if line.found else None for line in found},
        "first": first.stage if first else "", "says": first.found.says if first else "",
        "texts": {line.stage: line.found.text for line in found if line.found},
        "bad": [line.stage for line in found if line.bad],
    }

m = machine("Mail")
answers(m.address, 22, b"SSH")
"""


def asked(box: Box, code: str) -> Any:  # noqa: F811
    return box.do(ASK + code)


def test_of_a_healthy_machine_it_finds_nothing_wrong(box: Box, mail: str):  # noqa: F811
    found = asked(box, "out = diagnosed()")
    assert found["state"] == "done", found
    assert found["bad"] == [], found
    good = [stage for stage, verdict in found["found"].items() if verdict == "good"]
    assert set(good) == set(found["found"]) - {"dnat"}, found
    assert "OFFER" in found["texts"]["dhcp"]


BREAKS = {
    "the bridge is down": (
        "ran('ip', 'link', 'set', m.zone.bridge, 'down')", "ran('ip', 'link', 'set', m.zone.bridge, 'up')",
        "bridge", "is down", {"bridge"},
    ),
    "the interface is out of the bridge": (
        "ran('ip', 'link', 'set', m.vif, 'nomaster')", "ran('ip', 'link', 'set', m.vif, 'master', m.zone.bridge)",
        "vif", "in no bridge", {"vif"},
    ),
    "the interface is down": (
        "ran('ip', 'link', 'set', m.vif, 'down')", "ran('ip', 'link', 'set', m.vif, 'up')", "vif", "is down", {"vif"},
    ),
    "dnsmasq is killed": (
        "os.kill(int(Path(config.run, 'dnsmasq', 'zDominig.pid').read_text()), 9); until(lambda: not Path('/proc', Path(config.run, 'dnsmasq', 'zDominig.pid').read_text().strip()).exists())",
        "from zones.services import zone_apply\ncarried(zone_apply(actor(), m.zone, approved=True))",
        "server", "does not run", {"server", "dhcp", "dns"},
    ),
    "the firewall forgot it": (
        "from machines.kinds import spec_of\nfor one in spec_of(m, config).members: ran(*one.remove)",
        "for one in spec_of(m, config).members: ran(*one.add)",
        "membership", "does not know", {"membership", "arp", "dhcp"},
    ),
    "DHCP was not told": (
        "Path(config.state, 'ethers', 'zDominig', 'Mail').unlink()", "carried(services.machine_reboot(actor(), m))",
        "lease", "is not told", {"lease"},
    ),
    "it has another MAC inside": (
        "ssh(m.address, '(sleep 0.2; ip link set eth0 address 02:00:00:00:00:99) >/dev/null 2>&1 &'); time.sleep(1)",
        "carried(services.machine_reboot(actor(), m))", "arp", "02:00:00:00:00:99", {"arp", "dhcp"},
    ),
    "its eth0 is down inside": (
        "ssh(m.address, '(sleep 0.2; ip link set eth0 down) >/dev/null 2>&1 &'); time.sleep(1)",
        "carried(services.machine_reboot(actor(), m))", "arp", "switched off inside", {"arp", "dhcp"},
    ),
    "it has another address inside": (
        "ssh(m.address, '(sleep 0.2; ip addr flush dev eth0; ip addr add 10.10.2.77/24 dev eth0; while :; do arping -c 1 -w 1 -I eth0 10.10.2.1; done) >/dev/null 2>&1 &'); time.sleep(1)",
        "carried(services.machine_reboot(actor(), m))", "arp", "", {"arp"},
    ),
    "the way out is missing": (
        "ran('iptables', '-t', 'nat', '-F', 'fr-snat')", "_confirm(render.files(rows.site_of(m.host)).by_name)",
        "snat", "go out as 87.98.130.56", {"snat"},
    ),
    "nothing is forwarded": (
        "Path('/proc/sys/net/ipv4/ip_forward').write_text('0')", "Path('/proc/sys/net/ipv4/ip_forward').write_text('1')",
        "forwarding", "ip_forward", {"forwarding"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("broken", BREAKS)
def test_it_names_what_is_broken_when(broken: str, box: Box, mail: str):  # noqa: F811
    breaks, mends, stage, says, bad = BREAKS[broken]
    found = asked(box, f"{breaks}\ntry:\n    out = diagnosed()\nfinally:\n    exec({mends!r})\n")
    assert found["first"] == stage, found
    assert says in found["says"]
    assert set(found["bad"]) <= bad, found


def test_it_names_a_published_port_without_its_rule_and_counts_the_one_it_has(box: Box, mail: str):  # noqa: F811
    found = asked(
        box,
        """
from firewall.models import PublishedService
PublishedService.objects.create(host=m.host, name="MailSSH", zone=m.zone, external=m.zone.external, proto="tcp",
    port=2222, port_last=2222, target=m.address, target_port=22)
_confirm(render.files(rows.site_of(m.host)).by_name)
with_rule = diagnosed()
ran("iptables", "-t", "nat", "-F", "fr-dn-87.98.130.56")
try:
    without = diagnosed()
finally:
    PublishedService.objects.all().delete()
    _confirm(render.files(rows.site_of(m.host)).by_name)
out = with_rule, without
""",
    )
    assert found[0]["found"]["dnat"] == "good", found[0]
    assert "never used" in found[0]["texts"]["dnat"]
    assert found[1]["bad"] == ["dnat"]
    assert "tcp 2222 of 87.98.130.56" in found[1]["says"]


def test_of_a_machine_that_is_off_it_says_so_and_listens_to_nothing(box: Box, mail: str):  # noqa: F811
    found = asked(box, "carried(services.machine_stop(actor(), m, force=True))\nout = diagnosed()")
    assert found["first"] == "domain"
    assert (found["found"]["arp"], found["found"]["dhcp"]) == ("can't tell", "can't tell")
    assert "as wished" in found["says"]


def test_the_host_looks_at_itself(box: Box):  # noqa: F811
    found = box.do("""
from hosts import diagnosis, doctor
def looked():
    job = doctor.host_doctor(actor(), Host.objects.get())
    carried(job)
    return {line.stage: [line.found.verdict, line.found.says] for line in diagnosis.lines(job)}
good = looked()
pid = int(Path(config.run, "dnsmasq", "zDominig.pid").read_text())
os.kill(pid, 9)
until(lambda: not Path("/proc", str(pid)).exists())
subprocess.run(("ip", "link", "set", "eth0", "down"), check=True)
broken = looked()
subprocess.run(("ip", "link", "set", "eth0", "up"), check=True)
from zones.services import zone_apply
carried(zone_apply(actor(), Zone.objects.get(), approved=True))
out = good, broken
""")
    good, broken = found
    fine = ("libvirt", "zones", "forwarding", "policy", "kernel", "disk", "memory", "cards", "guards")
    assert {stage: good[stage] for stage in fine if good[stage][0] != "good"} == {}
    assert good["clock"][0] in ("good", "can't tell")
    assert broken["zones"][0] == "bad"
    assert broken["cards"][0] == "bad"


def test_a_filesystem_is_checked_by_nobody_while_the_machine_is_off_and_never_while_it_runs(box: Box, mail: str):  # noqa: F811
    found = asked(
        box,
        """
def checked(repair):
    job = doctor_services.machine_check(actor(), m, repair=repair)
    told = carried(job)
    line = [l for l in diagnosis.lines(Job.objects.get(pk=job.pk)) if l.found]
    return told["state"], told["message"], line[0].found.verdict if line else "", line[0].found.says if line else "", list(line[0].found.seen) if line else []
running = checked(False)
carried(services.machine_stop(actor(), m, force=True))
good = checked(False)
path = volumes.path_of(config, "Mail-root")
ran("debugfs", "-w", "-R", "sif <2> links_count 99", path)
broken = checked(False)
mended = checked(True)
after = checked(False)
out = running, good, broken, mended, after
""",
    )
    running, good, broken, mended, after = found
    assert running[0] == "refused"
    assert "Mail runs" in running[1]
    assert good[:1] + good[2:3] == ["done", "good"], good
    assert (broken[0], broken[2]) == ("done", "bad"), broken
    assert mended[0] == "done", mended
    assert mended[2:4] == ["good", "Its filesystem had errors; they are mended."]
    assert after[2] == "good"
