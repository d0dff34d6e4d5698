"""What is explained is what happens: the answer, the probe through a copy, and the packet itself agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dom0 import chains, probing
from dom0.errors import Refused
from dom0.host import HostConfig, Nic
from dom0.runner import run
from firewall.explain import Explainer, Question
from firewall.specs import CustomRule, Ports, Restriction, Site
from tests.host.bare import DOM0, INET, NEIGHBOUR, ONE, TWO, VPN, VPN_ADDRESS, VPN_NETWORK, World
from tests.host.packets.sample import COMMON, WEBDOM, WEBFUL
from tests.host.wire import PATIENCE_S, answer, inside

pytestmark = pytest.mark.host

NAMESPACES = {"internet": INET, "vpn": VPN, "dom0": DOM0, COMMON.address: COMMON.ns, WEBDOM.address: WEBDOM.ns}
ASKED = [
    ("internet", ONE, "tcp", 80),
    ("internet", ONE, "tcp", 25),
    ("internet", TWO, "tcp", 80),
    ("internet", TWO, "tcp", 8080),
    ("internet", ONE, "tcp", 22),
    ("internet", ONE, "tcp", 8000),
    ("internet", COMMON.address, "tcp", 2525),
    ("vpn", VPN_ADDRESS, "tcp", 8000),
    ("vpn", WEBDOM.address, "tcp", 8080),
    ("dom0", WEBDOM.address, "tcp", 8080),
    (COMMON.address, WEBDOM.address, "tcp", 8080),
    (COMMON.address, WEBDOM.address, "tcp", 22),
    (COMMON.address, TWO, "tcp", 80),
    (COMMON.address, "10.10.1.1", "udp", 53),
    (COMMON.address, "10.10.2.1", "udp", 53),
    (COMMON.address, VPN_ADDRESS, "tcp", 8000),
    (COMMON.address, ONE, "tcp", 22),
    (WEBDOM.address, NEIGHBOUR, "tcp", 80),
    (WEBDOM.address, NEIGHBOUR, "tcp", 25),
    (WEBDOM.address, ONE, "tcp", 25),
    (WEBDOM.address, TWO, "tcp", 80),
    (WEBDOM.address, ONE, "tcp", 80),
]


@pytest.fixture(scope="module")
def config(built: World) -> HostConfig:
    """The host file of that world, and the bridges' files as the zones' jobs leave them."""
    folder = Path(built.config.state, "zones")
    folder.mkdir()
    for name, net in built.layout.zones.items():
        text = f'{{"name": "{name}", "mac": "", "address": "{net}.1/24", "sysctls": {{}}}}'
        (folder / f"{name}.json").write_text(text)
    return replace(
        built.config,
        nics=(Nic(name="eth0", addresses=(ONE, TWO)),),
        vpn_interface="tun0",
        vpn_address=VPN_ADDRESS,
        vpn_network=VPN_NETWORK,
    )


@pytest.fixture(scope="module")
def narrowed(built: World) -> Iterator[Site]:
    """The sample with a restriction and an own rule in force."""
    port = Ports(proto="tcp", first=25, last=25)
    mail = Restriction(name="NoMail", zone=2, direction="out", action="DROP", ports=port)
    rule = CustomRule(place="before-forwarding", rule="-s 10.10.1.0/24 -p tcp -m tcp --dport 22 -j DROP", reason="test")
    site = replace(built.site, restrictions=(mail,), custom=(rule,))
    built.apply(site)
    yield site
    built.apply(built.site)


@pytest.mark.parametrize(("source", "target", "proto", "port"), ASKED)
def test_answer_probe_and_packet_agree(
    built: World, config: HostConfig, narrowed: Site, source: str, target: str, proto: str, port: int
) -> None:
    explainer = Explainer(narrowed, vpn_address=VPN_ADDRESS)
    question = Question(source=source, target=target, proto=proto, port=port)
    lands = ":".join(str(part) for part in explainer.lands(question))
    args = {"source": source, "target": target, "proto": proto, "port": str(port), "lands": lands}
    probed = inside(DOM0, lambda: probing.probe(config, args))
    said = explainer.ask(question)
    patience_s = PATIENCE_S if said.reaches else 0.5
    happens = answer(NAMESPACES[source], target, port, udp=proto == "udp", timeout_s=patience_s) != ""
    assert (said.reaches, probed.startswith(probing.ARRIVED)) == (happens, happens), (said.sentence, probed)


def test_a_probe_tells_whom_the_other_side_sees(config: HostConfig, narrowed: Site) -> None:
    args = {"source": WEBDOM.address, "target": NEIGHBOUR, "proto": "tcp", "port": "443", "lands": f"{NEIGHBOUR}:443"}
    assert inside(DOM0, lambda: probing.probe(config, args)).startswith(
        f"It arrived at tcp {NEIGHBOUR}:443, from {TWO}"
    )


@pytest.mark.parametrize(
    ("source", "target", "arrives"), [(COMMON.address, "10.10.1.1", True), ("internet", ONE, True)]
)
def test_a_ping_is_probed_too(config: HostConfig, narrowed: Site, source: str, target: str, arrives: bool) -> None:
    args = {"source": source, "target": target, "proto": "icmp", "lands": target}
    assert inside(DOM0, lambda: probing.probe(config, args)).startswith(probing.ARRIVED) is arrives


def test_a_machine_nobody_has_is_a_sentence(config: HostConfig, narrowed: Site) -> None:
    args = {"source": "10.10.1.99", "target": ONE, "proto": "tcp", "port": "80", "lands": f"{WEBFUL.address}:8080"}
    with pytest.raises(Refused, match=r"No machine of this host has 10\.10\.1\.99"):
        inside(DOM0, lambda: probing.probe(config, args))


def test_probing_leaves_the_host_as_it_was(built: World, config: HostConfig, narrowed: Site) -> None:
    before = inside(DOM0, look)
    args = {"source": "internet", "target": TWO, "proto": "tcp", "port": "80", "lands": f"{WEBDOM.address}:8080"}
    inside(DOM0, lambda: probing.probe(config, args))
    assert inside(DOM0, look) == before


def look() -> str:
    shown = "".join(run(argv).stdout for argv in (("ip", "addr"), ("ip", "route"), ("ipset", "save")))
    return shown + chains.normal(run(("iptables-save",)).stdout)
