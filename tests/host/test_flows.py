"""An apply through the real planner, the worker's executor and a guard, judged by open connections.

Whatever object changes, exactly the connections whose treatment changed are cut; all others live on.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import pytest

from dom0 import execute, flows, guard, probe, trial
from dom0.errors import Refused
from dom0.plan import Plan
from dom0.probe import Scope
from dom0.state import State
from dom0.steps import Hand
from firewall import importer
from firewall import plan as planner
from firewall.plan import Wish
from firewall.specs import INTERNET, VPN, Cell, CustomRule, Ports, Restriction, Site
from tests.host import bare
from tests.host.bare import DOM0, HOST, INET, NEIGHBOUR, ONE, TWO, Layout, World, without
from tests.host.bare import VPN as VPN_NS
from tests.host.packets.sample import COMMON, RULES, WEBDOM, WEBFUL, web
from tests.host.wire import PATIENCE_S, answer, closed, connect, echoes, inside

pytestmark = pytest.mark.host

LAYOUT = Layout(zones={"xen-br1": "10.10.1", "xen-br2": "10.10.2"}, machines=(COMMON, WEBFUL, WEBDOM))
SERVERS = (
    ("common-smtp", COMMON.ns, 2525, False),
    ("webful-web", WEBFUL.ns, 8080, False),
    ("webdom-web", WEBDOM.ns, 8080, False),
    ("webdom-ssh", WEBDOM.ns, 22, False),
    ("webdom-udp", WEBDOM.ns, 5060, True),
    ("inet-web", INET, 80, False),
    ("inet-smtp", INET, 25, False),
    ("dom0-panel", DOM0, 8000, False),
)


@dataclass
class Applier:
    """Applies sites to a bare host as the worker does, one revision after the other, a guard beside it."""

    world: World
    number: int = 0
    said: list[str] = field(default_factory=list)

    def wish(self, site: Site, seconds: int = 60) -> Wish:
        self.number += 1
        name = f"{self.number}-{self.number:012x}"
        folder = f"{self.world.config.state}/firewall"
        return Wish(site=site, folder=folder, name=name, token=f"{name}-j{self.number}", seconds=seconds)

    def plan(self, wish: Wish) -> Plan:
        config = self.world.config
        scope = Scope(
            files=planner.paths(wish, trial.read(config).confirmed),
            rules=planner.FAMILIES,
            sysctls=planner.sysctls(wish),
            links=wish.site.nics,
            trial=planner.TRIAL,
        )
        return planner.plan(wish, inside(DOM0, lambda: probe.probe(config, scope)))

    def perform(self, plan: Plan, steps: int | None = None) -> None:
        for step in plan.steps[:steps]:
            inside(DOM0, lambda step=step: execute.perform(step, self.world.config, State(), {}))  # type: ignore[misc]

    def tried(self, site: Site, seconds: int = 60) -> Wish:
        """The site is on trial, loaded to its end."""
        wish = self.wish(site, seconds)
        self.perform(self.plan(wish))
        assert self.plan(wish).steps == ()
        return wish

    def confirm(self, wish: Wish) -> None:
        nonce = trial.read(self.world.config).applied_nonce
        inside(DOM0, lambda: trial.confirm(self.world.config, wish.token, nonce))

    def keep(self, site: Site) -> Wish:
        wish = self.tried(site)
        self.confirm(wish)
        return wish

    def take_back(self) -> None:
        inside(DOM0, lambda: trial.take_back(self.world.config, "operator", self.said.append))

    def settled(self) -> bool:
        """Whether no trial stands and nothing is being taken back."""
        standing = trial.read(self.world.config)
        return standing.pending is None and not standing.returning

    def guard(self, stop: threading.Event) -> None:
        """One of the two, without its heart."""
        while not stop.wait(0.02):
            inside(DOM0, lambda: guard.act(self.world.config, self.said.append))


@pytest.fixture(scope="module")
def applier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Applier]:
    with bare.built(LAYOUT, tmp_path_factory.mktemp("state")) as world:
        world.site = importer.read(RULES.read_text(), host=HOST).site
        world.serve(SERVERS)
        made, stop = Applier(world), threading.Event()
        watching = threading.Thread(target=made.guard, args=(stop,))
        watching.start()
        try:
            made.keep(world.site)
            yield made
        finally:
            stop.set()
            watching.join()


@pytest.fixture
def site(applier: Applier) -> Iterator[Site]:
    """The production sample, in force before each test and after."""
    yield applier.world.site
    if trial.read(applier.world.config).pending:
        applier.take_back()
    applier.keep(applier.world.site)


def cell(site: Site, source: str, target: str, *ports: Ports) -> Site:
    others = tuple(c for c in site.policy if (c.source, c.target) != (source, target))
    return replace(site, policy=(*others, Cell(source=source, target=target, ports=ports)))


def restricted(site: Site, **words: object) -> Site:
    rule = {"name": "NOSMTP", "zone": 2, "direction": "out", "action": "DROP", "ports": port(25), **words}
    return replace(site, restrictions=(*site.restrictions, Restriction(**rule)))  # type: ignore[arg-type]


def port(number: int) -> Ports:
    return Ports(proto="tcp", first=number, last=number)


def own(site: Site, rule: str) -> Site:
    return replace(site, custom=(*site.custom, CustomRule(place="before-forwarding", rule=rule)))


def leaves_by(site: Site, external: str) -> Site:
    first, second = site.zones
    return replace(site, zones=(replace(first, external=external), second))


def isolated(site: Site) -> Site:
    first, second = site.zones
    inside_only = tuple(s for s in site.services if s.zone != second.number)
    return replace(site, zones=(first, replace(second, external=None, nic=None)), services=inside_only)


Ends = tuple[str, str, int]  # from which namespace, to which address and port
CHANGES: dict[str, tuple[Callable[[Site], Site], list[Ends], list[Ends]]] = {
    "a cell narrowed to one port": (
        lambda site: cell(site, "zFulup", "zDominig", port(8080)),
        [(COMMON.ns, WEBDOM.address, 22)],
        [(COMMON.ns, WEBDOM.address, 8080), (COMMON.ns, NEIGHBOUR, 80), (INET, TWO, 22)],
    ),
    "a zone's way to the Internet closed": (
        lambda site: cell(site, "zFulup", INTERNET),
        [(COMMON.ns, NEIGHBOUR, 80)],
        [(COMMON.ns, WEBDOM.address, 22), (WEBDOM.ns, NEIGHBOUR, 80), (INET, ONE, 25)],
    ),
    "the VPN's way to a zone closed": (
        lambda site: cell(site, VPN, "zDominig"),
        [(VPN_NS, WEBDOM.address, 22)],
        [(VPN_NS, COMMON.address, 2525), (COMMON.ns, WEBDOM.address, 22)],
    ),
    "a zone leaves by another address": (
        lambda site: leaves_by(site, TWO),
        [(COMMON.ns, NEIGHBOUR, 80)],
        [(COMMON.ns, WEBDOM.address, 22), (WEBDOM.ns, NEIGHBOUR, 80)],
    ),
    "a zone becomes isolated": (
        isolated,
        [(WEBDOM.ns, NEIGHBOUR, 80), (INET, TWO, 22), (WEBDOM.ns, ONE, 80)],
        [(COMMON.ns, WEBDOM.address, 22), (INET, ONE, 25), (COMMON.ns, NEIGHBOUR, 80)],
    ),
    "a port closed out of a zone": (
        lambda site: restricted(site),
        [(WEBDOM.ns, NEIGHBOUR, 25)],
        [(WEBDOM.ns, NEIGHBOUR, 80), (INET, TWO, 22), (COMMON.ns, NEIGHBOUR, 25)],
    ),
    "a port closed into a zone from one network": (
        lambda site: restricted(site, direction="in", ports=port(22), address="10.10.1.0/24"),
        [(COMMON.ns, WEBDOM.address, 22)],
        [(INET, TWO, 22), (COMMON.ns, WEBDOM.address, 8080)],
    ),
    "an own rule that drops": (
        lambda site: own(site, f"-s {COMMON.address}/32 -d {WEBDOM.address}/32 -p tcp -m tcp --dport 22 -j DROP"),
        [(COMMON.ns, WEBDOM.address, 22)],
        [(WEBFUL.ns, WEBDOM.address, 22), (COMMON.ns, WEBDOM.address, 8080), (INET, TWO, 22)],
    ),
    "a service and its move": (
        lambda site: replace(
            site,
            services=tuple(
                replace(s, target=COMMON.address, target_port=2525) if s.name == "DomiSSH" else s
                for s in without(site, "FulupWEB").services
            ),
        ),
        [(INET, TWO, 22), (INET, ONE, 80)],
        [(INET, TWO, 80), (INET, ONE, 25), (COMMON.ns, WEBDOM.address, 22)],
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_cuts_what_it_is_about_and_nothing_else(applier: Applier, site: Site, what: str) -> None:
    change, cut, spared = CHANGES[what]
    with ExitStack() as stack:
        doomed = [stack.enter_context(connect(*ends)) for ends in cut]
        lucky = [stack.enter_context(connect(*ends)) for ends in spared]
        assert all(echoes(link) for link in (*doomed, *lucky))
        applier.tried(change(site))
        alive = [ends for ends, link in zip(cut, doomed, strict=True) if echoes(link, timeout_s=0.6)]
        assert alive == [], what
        dead = [ends for ends, link in zip(spared, lucky, strict=True) if not echoes(link)]
        assert dead == [], what


def test_an_own_rule_that_let_through_is_missed_when_it_goes(applier: Applier, site: Site) -> None:
    closed_site = cell(site, "zFulup", "zDominig")
    let = own(closed_site, f"-s {COMMON.address}/32 -d {WEBDOM.address}/32 -j ACCEPT")
    applier.keep(let)
    with connect(COMMON.ns, WEBDOM.address, 22) as link:
        assert echoes(link)
        applier.tried(closed_site)
        assert not echoes(link, timeout_s=0.6)


def test_a_service_of_both_protocols_comes_at_once_and_goes_at_once(applier: Applier, site: Site) -> None:
    both = replace(site, services=(*site.services, replace(web("SIP", 5060, WEBDOM, inner=5060), proto="both")))
    sender = inside(INET, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with sender:
        sender.settimeout(0.3)
        sender.sendto(b"early", (TWO, 5060))
        with pytest.raises(TimeoutError):
            sender.recv(100)
        applier.keep(both)
        sender.settimeout(PATIENCE_S)
        sender.sendto(b"now", (TWO, 5060))
        assert sender.recv(100).startswith(b"webdom-udp"), "a sender that was there before its rule is not stuck"
        applier.tried(site)
        sender.settimeout(0.4)
        sender.sendto(b"late", (TWO, 5060))
        with pytest.raises(TimeoutError):
            sender.recv(100)


def test_what_came_in_during_a_trial_is_cut_when_it_is_taken_back_and_the_rest_lives_on(
    applier: Applier, site: Site
) -> None:
    wish = applier.wish(replace(site, services=(*site.services, web("More", 4525, WEBDOM))), 6)
    with connect(INET, TWO, 22) as spared:
        applier.perform(applier.plan(wish))
        with connect(INET, TWO, 4525) as cut:
            assert echoes(cut)
            assert bare.until(applier.settled)
            assert not echoes(cut, timeout_s=0.6)
        assert echoes(spared)
    assert closed(INET, TWO, 4525)
    with pytest.raises(Refused, match="The guard has taken revision"):
        applier.plan(wish)


def test_a_worker_killed_after_any_step_leaves_a_trial_that_somebody_can_go_on_with(
    applier: Applier, site: Site
) -> None:
    after = own(restricted(without(site, "DomiWEB")), "-s 10.10.1.3/32 -p udp -j DROP")
    first = applier.plan(applier.wish(after))
    for done in range(1, len(first.steps)):
        wish = applier.wish(after)
        applier.perform(applier.plan(wish), done)
        rest = applier.plan(wish)
        applier.perform(rest)
        assert applier.plan(wish).steps == (), done
        assert closed(INET, TWO, 80)
        applier.take_back()
        assert answer(INET, TWO, 80).startswith("webdom-web"), done


def test_a_second_apply_waits_for_the_first_ones_end(applier: Applier, site: Site) -> None:
    wish = applier.tried(restricted(site))
    with pytest.raises(Refused, match="is on trial on this host"):
        applier.plan(applier.wish(site))
    applier.confirm(wish)
    assert applier.plan(applier.wish(site)).steps


def test_what_somebody_changed_on_the_host_is_restored_without_a_trial(applier: Applier, site: Site) -> None:
    wish = applier.keep(site)
    setting = Path("/proc/sys/net/ipv4/conf/all/rp_filter")
    inside(DOM0, lambda: setting.write_text("0"))
    assert [step.action.verb for step in applier.plan(wish).steps if isinstance(step.action, Hand)] == [
        "firewall-restore"
    ]
    for words in ("-I fr-fwd 1 -j ACCEPT", "-D INPUT -j fr-in", "-P FORWARD ACCEPT"):
        bare.command(DOM0, "iptables", *words.split())
    bare.command(DOM0, "nft", "flush", "chain", "bridge", "fridu", "port")
    applier.perform(applier.plan(wish))
    assert applier.plan(wish).steps == ()
    assert inside(DOM0, setting.read_text).strip() == "1"


def test_what_came_in_through_a_port_opened_by_hand_is_cut_when_the_host_is_restored(
    applier: Applier, site: Site
) -> None:
    wish = applier.keep(site)
    opened = f"-t nat -A fr-dn-{TWO} -p tcp -m tcp --dport 4526 -j DNAT --to-destination {WEBDOM.address}:8080"
    bare.command(DOM0, "iptables", *opened.split())
    with connect(INET, TWO, 4526) as cut, connect(INET, TWO, 80) as spared:
        assert echoes(cut)
        applier.perform(applier.plan(wish))
        assert not echoes(cut, timeout_s=0.6)
        assert echoes(spared)
    assert closed(INET, TWO, 4526)


class Died(BaseException):
    """A worker that ends between the last load and the cut."""


def test_it_is_cut_even_where_the_worker_ends_before_it_came_to_that(
    applier: Applier, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish = applier.keep(site)
    opened = f"-t nat -A fr-dn-{TWO} -p tcp -m tcp --dport 4526 -j DNAT --to-destination {WEBDOM.address}:8080"
    bare.command(DOM0, "iptables", *opened.split())
    forget, asked = flows.forget, count()

    def ends(lines: Iterable[str]) -> tuple[int, int]:
        if not next(asked):
            raise Died
        return forget(lines)

    monkeypatch.setattr(flows, "forget", ends)
    with connect(INET, TWO, 4526) as cut, connect(INET, TWO, 80) as spared:
        assert echoes(cut)
        with pytest.raises(Died):
            applier.perform(applier.plan(wish))
        deadline = time.monotonic() + 5
        while echoes(cut, timeout_s=0.6):
            assert time.monotonic() < deadline, "the guard cuts it"
        assert echoes(spared)
    assert closed(INET, TWO, 4526)
    assert applier.plan(wish).steps == ()


def test_the_panels_old_connection_lives_on_by_the_new_rules_alone(applier: Applier, site: Site) -> None:
    with connect(VPN_NS, "10.10.95.38", 8000) as link:
        assert echoes(link)
        applier.keep(restricted(site))
        assert echoes(link), "its way stays open, so it goes on"
        shut = replace(cell(site, VPN, "dom0"), panel_port=None)
        applier.tried(shut)
        assert not echoes(link, timeout_s=0.6)
        applier.take_back()
        assert echoes(link), "and is there again once that was taken back"
