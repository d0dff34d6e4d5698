"""A zone's plan: exactly these steps, nothing where it is so already, hands off what is somebody else's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dom0.dnsmasq import Files
from dom0.errors import Refused
from dom0.plan import Already, Plan
from dom0.state import Link, State
from zones import plan, render
from zones.specs import ZoneSpec

GOLDEN = Path(__file__).parent.parent / "golden" / "zones"
FULUP = ZoneSpec(
    host="ns3100421",
    name="zFulup",
    bridge="xen-br1",
    gateway="10.10.1.1",
    prefix=24,
    isolated=False,
    domain="fulup.internal",
    files=Files(state="/var/lib/fridu", run="/run/fridu", zone="zFulup"),
    vpn_network="10.10.95.0/24",
)
KERNEL = {"net.ipv6.conf.all.disable_ipv6": "0"}
ETH0 = Link(name="eth0", up=True, addresses=("91.121.65.140/24", "87.98.130.56/32"))
EMPTY = State(host="ns3100421", sysctls=KERNEL, links={"eth0": ETH0})


def after(found: Plan, state: State) -> State:
    for step in found.steps:
        state = step.after(state)
    return state


def listing(found: Plan) -> str:
    return "".join(f"[{step.stage}] {step.title}\n{step.shown}\n" for step in found.steps)


MADE = after(plan.present(FULUP, EMPTY), EMPTY)


def test_a_new_zone_takes_exactly_these_steps() -> None:
    assert listing(plan.present(FULUP, EMPTY)) == (GOLDEN / "create.txt").read_text()


def test_an_isolated_zone_has_no_names_from_outside() -> None:
    isolated = render.dnsmasq_conf(replace(FULUP, isolated=True, domain=""))
    assert isolated == (GOLDEN / "isolated.conf").read_text()
    assert "no-resolv" in isolated.splitlines()


def test_a_zone_that_is_there_needs_nothing() -> None:
    again = plan.present(FULUP, MADE)
    assert again.steps == ()
    assert [item.stage for item in again.items if isinstance(item, Already)] == [
        "bridge",
        "sysctl",
        "address",
        "up",
        "members",
        "dnsmasq",
        "boot",
    ]


def test_what_a_plan_begins_with_depends_on_nothing_but_what_is_missing() -> None:
    """Killed after any step, the plan from there on is the rest of the plan."""
    whole = plan.present(FULUP, EMPTY).steps
    state = EMPTY
    for done, step in enumerate(whole, start=1):
        state = step.after(state)
        left = [s.title for s in plan.present(FULUP, state).steps]
        # Steps without a lasting trace (folders, empty sets) come again, which is harmless.
        assert left[-1:] == [s.title for s in whole[done:]][-1:]
        assert set(left) <= {s.title for s in whole}
        assert whole[0].title not in left


def test_a_kernel_without_ipv6_is_asked_for_none() -> None:
    steps = plan.present(FULUP, replace(EMPTY, sysctls={})).steps
    assert not any("ipv6" in step.shown for step in steps if step.stage != "boot")
    assert any("rp_filter=1" in step.shown for step in steps)


def test_a_bridge_of_somebody_else_is_refused() -> None:
    theirs = EMPTY.having("links", "xen-br1", Link(name="xen-br1", kind="bridge", mac="52:54:00:00:00:01"))
    with pytest.raises(Refused, match="xen-br1 already") as refused:
        plan.present(FULUP, theirs)
    assert "another bridge" in refused.value.note


def test_a_bridge_of_another_zone_is_refused() -> None:
    with pytest.raises(Refused, match="not zone zOther's"):
        plan.present(replace(FULUP, name="zOther", gateway="10.10.9.1"), MADE)


@pytest.mark.parametrize("address", ["10.10.1.77/24", "10.10.1.1/32", "10.0.0.1/8"])
def test_an_address_the_host_uses_elsewhere_is_refused(address: str) -> None:
    taken = EMPTY.having("links", "virbr0", Link(name="virbr0", kind="bridge", addresses=(address,)))
    with pytest.raises(Refused, match=r"overlaps 10\.10\.1\.0/24"):
        plan.present(FULUP, taken)


def test_an_address_left_on_our_bridge_is_taken_off() -> None:
    link = replace(MADE.links["xen-br1"], addresses=("10.10.9.1/24", "10.10.1.1/24"))
    steps = plan.present(FULUP, MADE.having("links", "xen-br1", link)).steps
    assert [s.shown for s in steps] == ["ip address del 10.10.9.1/24 dev xen-br1"]
    assert plan.present(FULUP, steps[0].after(MADE.having("links", "xen-br1", link))).steps == ()


def test_other_settings_restart_dnsmasq() -> None:
    isolated = replace(FULUP, isolated=True)
    found = plan.present(isolated, MADE)
    assert [s.title for s in found.steps] == [
        "Make the folders for the machines' addresses and names",
        "Write the DHCP and DNS settings of zFulup",
        "End dnsmasq of zFulup",
        "Start dnsmasq on xen-br1",
    ]
    assert plan.present(isolated, after(found, MADE)).steps == ()


def test_a_dnsmasq_with_older_settings_is_restarted() -> None:
    older = MADE.having("services", "dnsmasq:zFulup", "0123456789abcdef")
    assert [s.title for s in plan.present(FULUP, older).steps][1:] == [
        "End dnsmasq of zFulup",
        "Start dnsmasq on xen-br1",
    ]


def test_a_dnsmasq_that_ended_is_started() -> None:
    ended = MADE.without("services", "dnsmasq:zFulup")
    assert [s.stage for s in plan.present(FULUP, ended).steps] == ["dnsmasq", "dnsmasq"]


def test_deleting_takes_exactly_these_steps_and_leaves_nothing() -> None:
    found = plan.absent(FULUP, MADE)
    assert listing(found) == (GOLDEN / "delete.txt").read_text()
    left = after(found, MADE)
    assert (left.links, left.services, left.files) == ({"eth0": ETH0}, {}, {})
    assert not any("xen-br1" in key or "10.10.1.0" in key for key in left.members)
    assert plan.absent(FULUP, left).steps == ()


def test_deleting_looks_at_the_bridge_again_and_says_what_goes() -> None:
    (removal,) = [s for s in plan.absent(FULUP, MADE).steps if s.stage == "bridge"]
    assert removal.relies_on == (("links", "xen-br1"),)
    assert "xen-br1" in removal.destroys


def test_a_bridge_with_a_machine_on_it_is_not_deleted() -> None:
    busy = MADE.having("links", "fr1", Link(name="fr1", kind="veth", master="xen-br1"))
    with pytest.raises(Refused, match="fr1 is still attached"):
        plan.absent(FULUP, busy)


def test_deleting_leaves_the_bridge_of_somebody_else_alone() -> None:
    theirs = EMPTY.having("links", "xen-br1", Link(name="xen-br1", kind="bridge", mac="52:54:00:00:00:01"))
    assert plan.absent(FULUP, theirs).steps == ()


def test_membership_stays_for_the_other_zones() -> None:
    """Deleting a zone keeps what is inside on every host: loopback and the admin VPN."""
    left = after(plan.absent(FULUP, MADE), MADE)
    assert set(left.members) == {"fr-inside 127.0.0.0/8", "fr-inside 10.10.95.0/24"}


def test_every_bridge_has_a_mac_of_its_own() -> None:
    macs = {render.bridge_mac(host, zone) for host in ("a", "b") for zone in ("zFulup", "zDominig")}
    assert len(macs) == 4
    assert all(mac.startswith("02:") and len(mac) == 17 for mac in macs)
