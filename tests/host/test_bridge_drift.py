"""Bridge rules changed by hand are found, also where their number and their signature stay the same."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from bench import sites
from dom0 import members, runner
from firewall import render, watch
from firewall.specs import as_dict
from tests.host.guarded import OLD, Dom0
from tests.host.wire import inside

pytestmark = pytest.mark.host
SITE = sites.site(2)
FILES = render.files(SITE).by_name


@pytest.fixture
def dom0() -> Iterator[Dom0]:
    """A revision as the panel renders it, loaded and confirmed."""
    dom0 = Dom0()
    try:
        dom0.lay_down(OLD, {**FILES, "site.json": json.dumps(as_dict(SITE))})
        dom0.confirmed(OLD)
        dom0.load(OLD)
        yield dom0
    finally:
        dom0.close()


def nft(dom0: Dom0, *words: str) -> str:
    return inside(dom0.ns, lambda: runner.run(("nft", *words)).stdout)


def found(dom0: Dom0) -> list[str]:
    """What the watcher books of the bridge."""
    lines = inside(dom0.ns, lambda: watch.lines(dom0.config, OLD))
    assert lines is not None
    return [line.words for line in lines if line.family == "bridge"]


def handle(dom0: Dom0, rule: str) -> str:
    """The number nft calls the first such rule by."""
    said = nft(dom0, "-a", "list", "table", "bridge", members.TABLE)
    return next(line.rsplit(" ", 1)[1] for line in said.splitlines() if line.strip().startswith(f"{rule} # handle"))


def replaced(dom0: Dom0) -> None:
    nft(dom0, f"replace rule bridge fridu port handle {handle(dom0, 'drop')} accept")


def swapped(dom0: Dom0) -> None:
    number = handle(dom0, "udp sport 67 drop")
    nft(dom0, f"delete rule bridge fridu port handle {number}; insert rule bridge fridu port accept")


def policy_set(dom0: Dom0) -> None:
    nft(dom0, "chain bridge fridu between { policy drop; }")


def turned_round(dom0: Dom0) -> None:
    number = handle(dom0, "udp dport 68 drop")
    nft(dom0, f"delete rule bridge fridu port handle {number}; insert rule bridge fridu port udp dport 68 drop")


@pytest.mark.parametrize("change", [replaced, swapped, policy_set, turned_round])
def test_a_change_that_keeps_number_and_signature_is_drift_and_is_mended(dom0: Dom0, change) -> None:
    assert found(dom0) == []
    change(dom0)
    assert found(dom0) == ["the bridge rules are not those of the revision"]
    dom0.load(OLD)
    assert found(dom0) == []


def test_members_and_the_order_of_chains_are_none(dom0: Dom0) -> None:
    for member in members.machine_member("fr1", "aa:bb:0a:0a:01:01", "10.10.1.10"):
        nft(dom0, f"add element bridge fridu {members.VIFS} {{ {member.element} }}")
    nft(dom0, "flush chain bridge fridu in; delete chain bridge fridu in")
    assert found(dom0) != []
    inside(dom0.ns, lambda: runner.run(("nft", "-f", "-"), stdin=FILES[render.BRIDGE]))
    assert found(dom0) == []
