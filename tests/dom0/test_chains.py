"""Partial loads: only what differs is touched, foreign rules stay, our jumps stand in front."""

from __future__ import annotations

import pytest

from dom0 import chains
from tests.dom0.kernel import Kernel

FILE = """\
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:fr-in - [0:0]
:fr-admin - [0:0]
-A fr-in -i lo -j ACCEPT
-A fr-in -j fr-admin
-A fr-admin -p tcp -m tcp --dport 22 -j ACCEPT
COMMIT
*nat
:fr-dnat - [0:0]
:fr-dn-1 - [0:0]
:fr-dn-2 - [0:0]
-A fr-dnat -d 192.0.2.1/32 -j fr-dn-1
-A fr-dnat -d 192.0.2.2/32 -j fr-dn-2
-A fr-dn-1 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.10.1.2:80
-A fr-dn-2 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.10.2.2:80
COMMIT
"""


@pytest.fixture
def kernel() -> Kernel:
    """FILE is loaded; Docker and an operator with a rule of his own were there before."""
    made = Kernel()
    foreign = "*filter\n:DOCKER - [0:0]\n-A FORWARD -j DOCKER\n-A DOCKER -s 172.17.0.0/16 -j ACCEPT\n"
    made.restore(f"{foreign}-A INPUT -i eth9 -j ACCEPT\nCOMMIT\n")
    made.restore(chains.splice(FILE, made.save()))
    return made


def test_nothing_is_loaded_where_all_is_so(kernel: Kernel) -> None:
    assert chains.splice(FILE, kernel.save()) == ""
    assert chains.ours(kernel.save()) == chains.wanted(FILE)


def test_one_changed_service_is_one_chain_declared_and_filled_anew(kernel: Kernel) -> None:
    moved = FILE.replace("10.10.2.2:80", "10.10.2.3:8080")
    assert chains.splice(moved, kernel.save()).splitlines() == [
        "*nat",
        ":fr-dn-2 - [0:0]",
        "-A fr-dn-2 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.10.2.3:8080",
        "COMMIT",
    ]


def test_a_chain_that_comes_is_declared_with_the_one_that_leads_to_it(kernel: Kernel) -> None:
    more = FILE.replace(":fr-dn-2 - [0:0]\n", ":fr-dn-2 - [0:0]\n:fr-dn-3 - [0:0]\n").replace(
        "-A fr-dn-1 -p", "-A fr-dnat -d 192.0.2.3/32 -j fr-dn-3\n-A fr-dn-1 -p"
    )
    lines = chains.splice(more, kernel.save()).splitlines()
    assert lines[:3] == ["*nat", ":fr-dnat - [0:0]", ":fr-dn-3 - [0:0]"]
    assert not [line for line in lines if "fr-dn-1 -p" in line]


def test_chains_no_longer_wanted_go_with_whatever_leads_to_them(kernel: Kernel) -> None:
    kernel.restore("*nat\n-A PREROUTING -i eth9 -j fr-dn-2\nCOMMIT\n")
    fewer = "".join(line + "\n" for line in FILE.splitlines() if "fr-dn-2" not in line)
    spliced = chains.splice(fewer, kernel.save())
    assert "-D PREROUTING -i eth9 -j fr-dn-2" in spliced
    kernel.restore(spliced)
    assert "fr-dn-2" not in kernel.save()


def test_a_table_no_longer_wanted_loses_our_chains_and_jump_only(kernel: Kernel) -> None:
    kernel.restore("*nat\n-A POSTROUTING -s 172.17.0.0/16 -j MASQUERADE\nCOMMIT\n")
    filter_only = FILE[: FILE.index("*nat")]
    kernel.restore(chains.splice(filter_only, kernel.save()))
    assert chains.ours(kernel.save()) == chains.wanted(filter_only)
    assert "fr-dnat" not in kernel.save()
    assert "MASQUERADE" in kernel.save()


@pytest.mark.parametrize(
    "harm",
    [
        "*filter\n-I INPUT -i eth0 -j ACCEPT\nCOMMIT\n",
        "*filter\n-A INPUT -j fr-in\nCOMMIT\n",
        "*filter\n-D INPUT -j fr-in\nCOMMIT\n",
        "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n",
        "*filter\n:OUTPUT DROP [0:0]\nCOMMIT\n",
        "*filter\n-A fr-admin -j ACCEPT\nCOMMIT\n",
        "*filter\n:fr-in - [0:0]\nCOMMIT\n",
        "*nat\n:fr-more - [0:0]\n-A fr-dnat -j fr-more\nCOMMIT\n",
    ],
)
def test_whatever_somebody_did_to_ours_is_seen_and_mended(kernel: Kernel, harm: str) -> None:
    kernel.restore(harm)
    assert chains.ours(kernel.save()) != chains.wanted(FILE)
    kernel.restore(chains.splice(FILE, kernel.save()))
    assert chains.ours(kernel.save()) == chains.wanted(FILE)
    assert chains.splice(FILE, kernel.save()) == ""
    assert "-A DOCKER -s 172.17.0.0/16 -j ACCEPT" in kernel.save()


def test_an_empty_host_gets_everything_and_counters_say_nothing() -> None:
    assert chains.ours(chains.applied(FILE)) == chains.wanted(FILE)
    counted = chains.applied(FILE).replace("[0:0]", "[12:999]").replace("\n-A ", "\n[3:180] -A ")
    assert chains.ours(counted) == chains.wanted(FILE)
    assert chains.splice(FILE, counted) == ""
    whole = chains.splice(FILE, "")
    assert "-I INPUT -j fr-in" in whole
    assert all(line in whole for line in FILE.splitlines() if line.startswith("-A"))


WRITTEN = (
    "*filter\n:fr-x - [0:0]\n-A fr-x -p tcp --dport 80 -j DROP\n-A fr-x -s 10.0.0.1/32 -j LOG --log-prefix a:\nCOMMIT\n"
)
SAVED = WRITTEN.replace("--dport", "-m tcp --dport").replace(" a:", ' "a:"')


def test_what_the_kernel_keeps_in_other_words_is_told_and_read_again():
    found = chains.rewritten(WRITTEN, SAVED)
    assert found == {"-A fr-x -p tcp --dport 80 -j DROP": "-A fr-x -p tcp -m tcp --dport 80 -j DROP"}
    assert chains.kept("loads, 84 ms" + chains.told(found) + "\nmore") == found
    assert chains.told({}) == ""
    assert chains.kept("loads, 84 ms") == {}


def test_a_rule_that_comes_back_as_two_is_not_taken_for_one():
    with pytest.raises(ValueError, match="fr-x"):
        chains.rewritten(WRITTEN, SAVED.replace("COMMIT", "-A fr-x -j DROP\nCOMMIT"))
