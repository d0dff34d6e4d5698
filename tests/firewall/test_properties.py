"""What holds for every site: the same bytes for the same objects, and the least to load from one to another."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from dom0 import chains
from firewall import lint, nat, render, rules
from firewall.specs import Site, as_dict, from_dict
from tests.dom0.kernel import Kernel
from tests.firewall.sites import sites


@given(sites())
def test_a_site_renders_to_the_same_bytes_and_survives_json(site: Site) -> None:
    again = from_dict(json.loads(json.dumps(as_dict(site))))
    assert again == site
    assert render.files(again) == render.files(site)


@given(sites(), st.randoms())
def test_the_order_objects_came_in_does_not_matter(site: Site, random) -> None:
    """But for zones', restrictions' and addresses' own order, which says something."""
    shuffled = replace(
        site,
        services=tuple(random.sample(site.services, len(site.services))),
        policy=tuple(random.sample(site.policy, len(site.policy))),
    )
    assert render.files(shuffled) == render.files(site)


@given(sites(), sites())
def test_what_is_spliced_turns_any_live_rules_into_the_wanted_ones(old: Site, new: Site) -> None:
    for text in (render.v4, render.v6):
        kernel = Kernel()
        for site in (old, new):
            kernel.restore(chains.splice(text(site), kernel.save()))
            assert chains.ours(kernel.save()) == chains.wanted(text(site))
            assert chains.splice(text(site), kernel.save()) == ""


@given(sites())
def test_what_a_file_wants_is_what_applying_it_to_nothing_gives(site: Site) -> None:
    for text in (render.v4(site), render.v6(site)):
        assert chains.ours(chains.applied(text)) == chains.wanted(text)


@given(sites(most_services=30))
def test_every_rule_stands_in_a_chain_of_its_table_and_every_jump_leads_to_one(site: Site) -> None:
    for table in rules.tables(site):
        assert len(set(table.chains)) == len(table.chains)
        assert all(len(chain) <= 28 for chain in table.chains)
        assert {rule.chain for rule in table.rules} <= set(table.chains)
        targets = {found[1] for rule in table.rules if (found := re.search(r" ?-j (fr-\S+)$", rule.args))}
        assert targets <= set(table.chains)


@given(sites(most_services=30), sites(most_services=30))
def test_buckets_and_shelves_of_them_hold_all_that_one_long_chain_would(old: Site, new: Site) -> None:
    with mock.patch.object(nat, "BUCKET_ABOVE", 2), mock.patch.object(nat, "SHELVES_ABOVE", 5):
        kernel = Kernel()
        for site in (old, new):
            text = render.v4(site)
            kernel.restore(chains.splice(text, kernel.save()))
            assert chains.ours(kernel.save()) == chains.wanted(text)
            for service in site.published:
                # Both ends of a range are led to its rule.
                for port in {service.port_first, service.port_last}:
                    assert service.name in led(kernel, service.external or "", service.proto, port)


def led(kernel: Kernel, ip: str, proto: str, port: int) -> list[str]:
    """Names of the services whose rules a packet to this end can meet."""
    found: list[str] = []
    ways = [f"fr-dn-{ip}"]
    while ways:
        for rule in kernel.rules["nat"][ways.pop()]:
            words = rule.split()
            low, _, high = words[words.index("--dport") + 1].partition(":")
            if words[1] == proto and int(low) <= port <= int(high or low):
                if words[-1].startswith("fr-dn-"):
                    ways.append(words[-1])
                else:
                    found.append(words[words.index("--comment") + 1])
    return found


@given(sites())
def test_nobody_but_the_admin_is_let_in_before_the_operators_own_rules(site: Site) -> None:
    table = next(t for t in rules.tables(site) if t.name == "filter")
    ours = [r.args for r in table.rules if r.chain == "fr-in"]
    first = ours[: ours.index("-j fr-before-input")]
    accepting = [args for args in first if args.endswith("ACCEPT")]
    assert accepting == ["-m conntrack --ctstate ESTABLISHED -j ACCEPT", "-i lo -j ACCEPT"]
    admin = [r.args for r in table.rules if r.chain == "fr-admin"]
    assert all(re.search(r"^-i \S+ -p tcp -m tcp --dport (22|8000) ", args) for args in admin)
    assert {args.split()[1] for args in admin if "--dport 22 " in args} >= set(site.nics)
    strays = [r.args for r in table.rules if r.chain == "fr-stray"]
    assert all(args.endswith("-j DROP") for args in strays)


@given(sites())
def test_the_linter_says_something_about_every_site_without_falling_over(site: Site) -> None:
    for problem in lint.problems(site):
        assert problem.about
        assert problem.sentence.endswith((".", ")"))
