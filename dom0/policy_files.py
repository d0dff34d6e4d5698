"""The files of a firewall policy and the program that loads each, in the order they are applied. Pure."""

from __future__ import annotations

LOADERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("sets.ipset", ("ipset", "restore", "-file")),
    ("bridge.nft", ("nft", "-f")),
    ("v6.rules", ("ip6tables-restore", "--noflush")),
    ("v4.rules", ("iptables-restore", "--noflush")),
)
#: Kernel settings, loaded after the rules.
SETTINGS = "sysctl.conf"
#: The objects the files were made from.
SITE = "site.json"
