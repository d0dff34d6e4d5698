"""OpenVPN's client list as a plan: what is written, who is put out, what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dom0.errors import Refused
from dom0.plan import Plan
from dom0.state import State
from zones.vpn_plan import PeerSpec, listed, looked_at

LAPTOP = PeerSpec(
    folder="/etc/openvpn/fridu-clients",
    network="10.10.95.0/24",
    own="10.10.95.38",
    name="fulup-laptop",
    address="10.10.95.2",
)
REVOKED = replace(LAPTOP, revoked=True)
PATH = "/etc/openvpn/fridu-clients/fulup-laptop"
KEY = "fulup-laptop 10.10.95.2"


def shown(plan: Plan) -> list[str]:
    return [step.shown for step in plan.steps]


def after(plan: Plan, state: State) -> State:
    for step in plan.steps:
        state = step.after(state)
    return state


def test_a_peer_is_let_in_by_one_file_with_its_address():
    assert shown(listed((LAPTOP,), State())) == [
        f"install -m 0644 /dev/stdin {PATH} <<'END'\n"
        "# Fridu writes this file: fulup-laptop has this address and no other.\n"
        "ifconfig-push 10.10.95.2 255.255.255.0\nEND"
    ]


def test_a_revoked_peer_is_kept_out_first_and_then_put_out():
    state = State(files={PATH: LAPTOP.text}, peers={KEY: "open"})
    assert shown(listed((REVOKED,), state)) == [
        f"install -m 0644 /dev/stdin {PATH} <<'END'\n# Fridu writes this file: fulup-laptop is revoked.\ndisable\nEND",
        "fridu-hand vpn-out name=fulup-laptop address=10.10.95.2",
    ]


def test_a_revocation_that_stopped_half_way_goes_on():
    state = State(files={PATH: REVOKED.text}, peers={KEY: "open"})
    assert [step.stage for step in listed((REVOKED,), state).steps] == ["session"]


@pytest.mark.parametrize("found", [{}, {KEY: "shut"}])
def test_who_is_out_is_not_put_out_again(found):
    assert not listed((REVOKED,), State(files={PATH: REVOKED.text}, peers=found)).steps


@pytest.mark.parametrize(
    "peers", [(LAPTOP,), (REVOKED,), (REVOKED, replace(LAPTOP, name="other", address="10.10.95.3"))]
)
def test_planning_again_after_the_last_step_finds_nothing_left(peers):
    state = State(peers={KEY: "open"})
    assert not listed(peers, after(listed(peers, state), state)).steps


def test_those_to_be_kept_out_come_first():
    plan = listed((replace(LAPTOP, name="anna"), replace(REVOKED, address="10.10.95.3")), State())
    assert [step.title for step in plan.steps] == ["Keep fulup-laptop out", "Let anna in, as 10.10.95.2"]


def test_a_strangers_file_of_the_same_name_is_left_alone():
    with pytest.raises(Refused) as error:
        listed((LAPTOP,), State(files={PATH: "ifconfig-push 10.10.95.2 255.255.255.0\n"}))
    assert "did not write it" in error.value.message
    assert f"mv {PATH}" in error.value.note


def test_even_a_strangers_file_does_not_keep_a_revoked_name_in():
    assert "disable" in shown(listed((REVOKED,), State(files={PATH: "ifconfig-push 1.2.3.4 255.255.255.0\n"})))[0]


def test_an_address_that_was_shut_speaks_again_for_its_new_peer():
    other = replace(LAPTOP, name="fulup-laptop-2", former=("fulup-laptop",))
    plan = listed((other,), State(peers={other.key: "shut"}))
    assert shown(plan)[1] == "ip route del blackhole 10.10.95.2/32"


def test_who_had_an_address_is_put_out_before_another_gets_it():
    other = replace(LAPTOP, name="fulup-laptop-2", former=("fulup-laptop",))
    assert "fulup-laptop -" in looked_at((other,))["peers"]
    plan = listed((other,), State(peers={"fulup-laptop -": "open"}))
    assert shown(plan)[0] == "fridu-hand vpn-out name=fulup-laptop address=-"


def test_an_address_is_not_given_on_while_nobody_knows_whether_its_former_peer_is_in():
    other = replace(LAPTOP, name="fulup-laptop-2", former=("fulup-laptop",))
    with pytest.raises(Refused, match="does not say whether it is still in"):
        listed((other,), State(peers={"fulup-laptop -": "unknown", other.key: "shut"}))


def test_a_revoked_peer_whose_address_is_anothers_is_put_out_by_its_name_alone():
    plan = listed((replace(REVOKED, shared=True),), State(peers={"fulup-laptop -": "open"}))
    assert shown(plan)[1] == "fridu-hand vpn-out name=fulup-laptop address=-"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"name": "../shadow"}, "is no name"),
        ({"name": "fulup laptop"}, "is no name"),
        ({"name": "DEFAULT"}, "is no name"),
        ({"name": "a\ndisable"}, "is no name"),
        ({"folder": "etc/openvpn"}, "is no folder"),
        ({"folder": "/etc/openvpn/../shadow"}, "is no folder"),
        ({"address": "10.10.96.2"}, "not a client's address"),
        ({"address": "10.10.95.0"}, "not a client's address"),
        ({"address": "10.10.95.255"}, "not a client's address"),
        ({"address": "10.10.95.38"}, "not a client's address"),
    ],
)
def test_what_a_row_says_is_judged_again_before_root_writes_it(wrong, says):
    with pytest.raises(Refused, match=says):
        replace(LAPTOP, **wrong)
