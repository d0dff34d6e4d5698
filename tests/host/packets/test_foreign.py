"""Among others' rules and switches: foreign chains, operators' own rules, drift, membership."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dom0 import members
from dom0.errors import Refused
from dom0.runner import run
from firewall.specs import CustomRule
from tests.host.bare import DOM0, INET, ONE, TWO, World, without
from tests.host.packets.sample import ADMIN, COMMON, EVIL, FOREIGN, REDIS, WEBDOM, WEBFUL
from tests.host.wire import answer, closed, command, inside, open_ports

pytestmark = pytest.mark.host


def test_the_operators_own_rule_is_judged_before_and_cannot_shut_the_admin_out(world: World) -> None:
    rule = CustomRule(place="before-input", rule="-i eth0 -p tcp -j DROP", reason="quiet")
    world.apply(replace(world.site, custom=(rule,)))
    assert closed(INET, ONE, 563)
    assert answer(INET, ONE, 22) == "dom0-ssh 91.121.65.254"


def test_files_that_do_not_load_are_refused_before_anything_changes(world: World) -> None:
    rule = CustomRule(place="before-input", rule="-p tcp --dport 99999 -j DROP")
    with pytest.raises(Refused, match=r"v4\.rules does not load") as refused:
        world.apply(replace(world.site, custom=(rule,)))
    assert "Nothing was changed" in refused.value.note
    assert answer(INET, TWO, 80) == "webdom-web 91.121.65.254"
    world.apply(world.site)


def test_a_foreign_chain_survives_every_apply_and_opens_nothing_of_ours(world: World) -> None:
    assert "-A DOCKER -s 172.17.0.0/16 -j ACCEPT" in command(DOM0, "iptables-save")
    command(DOM0, "iptables", "-A", "DOCKER", "-j", "ACCEPT")
    try:
        assert open_ports(INET, TWO, [2525, 8080], wait_s=0.6) == set()
        assert closed(ADMIN.ns, WEBDOM.address, 8080)
    finally:
        command(DOM0, "iptables", "-D", "DOCKER", "-j", "ACCEPT")


def test_what_somebody_changed_is_seen_and_restored(world: World) -> None:
    assert world.drift() == ()
    command(DOM0, "iptables", "-I", "FORWARD", "-i", "eth0", "-j", "ACCEPT")
    command(DOM0, "iptables", "-t", "nat", "-F", "fr-dn-87.98.130.56")
    command(DOM0, "nft", "flush", "chain", "bridge", "fridu", "port")
    assert closed(INET, TWO, 80)
    assert world.apply(world.site) == ("bridge.nft", "v4.rules")
    assert answer(INET, TWO, 80) == "webdom-web 91.121.65.254"
    command(DOM0, "iptables", "-D", "FORWARD", "-i", "eth0", "-j", "ACCEPT")


def test_the_rules_hold_while_bridged_frames_are_shown_to_iptables_and_that_is_restored(world: World) -> None:
    switch = "net.bridge.bridge-nf-call-iptables"
    command(DOM0, "sysctl", "-qw", f"{switch}=1")
    assert answer(COMMON.ns, WEBFUL.address, 8080) == "webful-web 10.10.1.2"
    assert answer(INET, ONE, 80) == "webful-web 91.121.65.254"
    # A machine's way to its own published port is the one thing this switch breaks (the bridge would have to send
    # the frame out of the port it came in by), and so it is put back.
    assert closed(FOREIGN.ns, COMMON.address, 2525)
    assert closed(EVIL.ns, "10.10.1.1", REDIS)
    assert world.apply(world.site) == (f"{switch}=0",)
    assert answer(WEBFUL.ns, ONE, 80) == "webful-web 10.10.1.1"


def test_membership_is_not_the_policys_business(world: World) -> None:
    before = command(DOM0, "ipset", "save"), command(DOM0, "nft", "list", "set", "bridge", "fridu", "members")
    world.apply(without(world.site, "DomiSSH"))
    world.apply(world.site)
    after = command(DOM0, "ipset", "save"), command(DOM0, "nft", "list", "set", "bridge", "fridu", "members")
    assert before == after
    for member in members.machine_member(COMMON.vif, COMMON.mac, COMMON.address):
        inside(DOM0, lambda member=member: run(member.remove))
    try:
        assert closed(INET, ONE, 25)
    finally:
        for member in members.machine_member(COMMON.vif, COMMON.mac, COMMON.address):
            inside(DOM0, lambda member=member: run(member.add))
    assert answer(INET, ONE, 25).startswith("common-smtp")
