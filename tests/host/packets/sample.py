"""The production sample's world: its machines, a hostile one, an isolated one, and one nobody put on the list."""

from __future__ import annotations

from pathlib import Path

from firewall.specs import Service, Zone
from tests.host.bare import DOM0, INET, TWO, VPN, Layout, Machine, service

RULES = Path(__file__).parents[2] / "fixtures" / "production.rules"
REDIS = 6379

COMMON = Machine("common", "fr1", "xen-br1", "10.10.1.2", "aa:bb:0a:0a:01:02")
WEBFUL = Machine("webful", "fr2", "xen-br1", "10.10.1.3", "aa:bb:0a:0a:01:03")
WEBDOM = Machine("webdom", "fr3", "xen-br2", "10.10.2.2", "aa:bb:0a:0a:02:02")
EVIL = Machine("evil", "fr4", "xen-br1", "10.10.1.66", "aa:bb:0a:0a:01:42")
ADMIN = Machine("admin", "fr5", "xen-br3", "10.10.3.5", "aa:bb:0a:0a:03:05")
FOREIGN = Machine("foreign", "foreign0", "xen-br1", "10.10.1.77", "aa:bb:0a:0a:01:4d", known=False)
LAYOUT = Layout(
    zones={"xen-br1": "10.10.1", "xen-br2": "10.10.2", "xen-br3": "10.10.3"},
    machines=(COMMON, WEBFUL, WEBDOM, EVIL, ADMIN, FOREIGN),
)
ISOLATED = Zone(number=3, name="zAdmin", bridge="xen-br3", gateway="10.10.3.1", network="10.10.3.0/24")

SERVERS = (
    ("common-smtp", COMMON.ns, 2525, False),
    ("webful-web", WEBFUL.ns, 8080, False),
    ("webdom-web", WEBDOM.ns, 8080, False),
    ("webdom-ssh", WEBDOM.ns, 22, False),
    ("webdom-udp", WEBDOM.ns, 5060, True),
    ("common-udp", COMMON.ns, 5353, True),
    ("admin-web", ADMIN.ns, 8080, False),
    ("inet-web", INET, 80, False),
    ("inet-smtp", INET, 25, False),
    ("inet-udp", INET, 5353, True),
    ("vpn-web", VPN, 80, False),
    ("dom0-ssh", DOM0, 22, False),
    ("dom0-vpnt", DOM0, 563, False),
    ("dom0-vpnu", DOM0, 44096, True),
    ("dom0-panel", DOM0, 8000, False),
    ("dom0-redis", DOM0, REDIS, False),
    ("dom0-dns", DOM0, 53, True),
    ("dom0-dhcp", DOM0, 67, True),
    ("dom0-other", DOM0, 9999, True),
)


def web(name: str, port: int, target: Machine, *, proto: str = "tcp", inner: int = 8080, last: int = 0) -> Service:
    """A service published on the second address."""
    return service(name, port, target, zone=2, external=TWO, proto=proto, inner=inner, last=last)
