"""What a cell comes to: a closed cell keeps nobody from a published port, a restriction does."""

from __future__ import annotations

from dataclasses import replace

from firewall.effective import effective
from firewall.specs import Ports, Restriction, Service, Site


def two(site: Site) -> tuple[Site, Service]:
    """The sample without policy and restrictions, and with one service of zFulup's address that leads to zDominig."""
    fulup, dominig = (next(z for z in site.zones if z.name == name) for name in ("zFulup", "zDominig"))
    service = Service(
        name="Shared", proto="both", port_first=7000, port_last=7000, external=fulup.external,
        target=dominig.gateway[:-1] + "9", target_port=7001, zone=fulup.number,
    )  # fmt: skip
    return replace(site, services=(*site.services, service), policy=(), restrictions=()), service


def test_a_machine_shared_by_two_zones_is_told_first_and_named_so(production) -> None:
    site, service = two(production)
    found = effective(site, "zFulup", "zDominig", {service.target: "WEB-Dom"})
    first = found.reached[0]
    assert (first.name, first.machine, first.shared, first.reaches) == ("Shared", "WEB-Dom", "zFulup", True)
    assert "is published as Shared" in first.because
    assert all(one.shared == "" for one in found.reached[1:])


def test_the_internet_and_a_neighbour_may_differ(production) -> None:
    site, _ = two(production)
    zone = next(z for z in site.zones if z.name == "zFulup")
    stopped = Restriction(
        name="NO7000", zone=zone.number, direction="out", action="DROP", ports=Ports(proto="tcp", first=7000, last=7000)
    )
    site = replace(site, restrictions=(stopped,))
    assert effective(site, "internet", "zDominig", {}).reached[0].reaches is True
    neighbour = effective(site, "zFulup", "zDominig", {}).reached[0]
    assert neighbour.reaches is False
    assert "NO7000" in neighbour.because


def test_a_cell_that_leads_to_no_zone_comes_to_nothing_more(production) -> None:
    for pair in (("zFulup", "internet"), ("zFulup", "dom0"), ("zGone", "zFulup"), ("zFulup", "zGone")):
        assert effective(production, *pair, {}).reached == ()


def test_of_many_services_a_few_are_told_and_the_rest_counted(production) -> None:
    site, service = two(production)
    many = tuple(replace(service, name=f"S{n}", port_first=n, port_last=n) for n in range(8000, 8020))
    found = effective(replace(site, services=many), "vpn", "zDominig", {})
    assert (len(found.reached), found.more) == (8, 12)
