"""Own rules against the real programs: what the list of allowed words takes loads, or the trial refuses it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dom0 import chains, hands
from dom0.errors import Refused
from dom0.host import HostConfig
from dom0.state import State
from dom0.steps import Hand
from firewall import lint, own_rule_kinds
from firewall.specs import CustomRule, Place
from tests.firewall.conftest import site_of
from tests.firewall.test_round_trip import OWN_RULES

pytestmark = pytest.mark.host
CONFIG = HostConfig(name="scratch", libvirt="lxc:///system", volumes="/nonexistent")
LOADS: list[tuple[Place, str]] = [
    ("before-input", "-i eth0 -p tcp --dport 9100 -s 198.51.100.7 -j ACCEPT"),
    ("before-input", "-s 198.51.100.7 -p udp -m udp --sport 123 -j REJECT --reject-with icmp-port-unreachable"),
    ("after-input", "-p tcp -m tcp --tcp-flags SYN,RST SYN -m connlimit --connlimit-above 5 --connlimit-saddr -j DROP"),
    ("before-forwarding", "-i xen-br+ -o eth0 -m hashlimit --hashlimit-above 5/sec --hashlimit-name x -j DROP"),
    ("before-forwarding", "-m set --match-set fr-inside dst -j RETURN"),
    ("after-forwarding", "-m time --timestart 22:00 --timestop 06:00 -s 10.10.1.0/24 -j DROP"),
    ("before-forwarding", "-m iprange --src-range 10.10.1.2-10.10.1.9 -m length --length 0:100 -j DROP"),
    ("before-output", "-m owner --uid-owner 33 -m conntrack --ctstate NEW -j REJECT"),
    ("after-output", "-d 198.51.100.0/24 -j LOG --log-prefix out: --log-level 6"),
    *(("before-forwarding", rule) for rule in OWN_RULES),
]


def trial(place: Place, rule: str) -> str:
    """What the trial's own step says on this machine; its network namespace goes with it."""
    wanted = CustomRule(place=place, rule=rule)
    assert not [p for p in lint.custom_problems(wanted) if p.blocks]
    site = replace(site_of("production"), custom=(wanted,))
    step = own_rule_kinds.plan(site, "/nonexistent", State()).steps[0]
    assert isinstance(step.action, Hand)
    return hands.do(step.action, CONFIG)


@pytest.mark.parametrize(("place", "rule"), LOADS)
def test_what_the_list_takes_loads(place: Place, rule: str) -> None:
    assert "loads in a scratch namespace" in trial(place, rule)


@pytest.mark.parametrize(
    "rule",
    [
        "-m conntrack --ctstate BOGUS -j DROP",
        "-p tcp -j REJECT --reject-with no-such-thing",
        "-m limit --limit 5/fortnight -j LOG",
        "-p udp --dport 53 -j REJECT --reject-with tcp-reset",
        "-m time --timestart 99:00 -j DROP",
        "-p icmp -m icmp --icmp-type nonsense -j DROP",
        "-m mac --mac-source zz:zz -j DROP",
    ],
)
def test_what_only_the_programs_know_is_refused_with_the_line_in_question(rule: str) -> None:
    with pytest.raises(Refused) as refused:
        trial("before-input", rule)
    assert "v4.rules does not load" in str(refused.value)


@pytest.mark.parametrize(("place", "rule"), LOADS)
def test_in_the_kernels_words_a_rule_comes_back_as_it_was_written(place: Place, rule: str) -> None:
    head = f"-A fr-{place} "
    kept = chains.kept(trial(place, rule)).get(head + rule, head + rule).removeprefix(head)
    assert chains.kept(trial(place, kept)) == {}
