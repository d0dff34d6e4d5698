"""The quick start's two lines: the bridge of the network script, and the machine created on it. Pure.

The seed's own list of "what my script does not check" begins with exactly this: is the machine's address
within its bridge's network?
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError

from firewall.findings import Finding, Severity

_SCRIPT = re.compile(r"\(network-script\s+'[\w.-]*network\.script\s+([\w.-]+):([\d.]+):([\d.]+)'\)")
_CREATE = re.compile(r"(?:>\s*)?Fridu-lvm\.script\s+create\s+(.+)")


@dataclass
class Quickstart:
    """Remembers the bridges while the lines go by; `bridge` is the default of the site's configuration."""

    networks: dict[str, IPv4Network] = field(default_factory=dict)

    def take(self, line: int, text: str) -> list[Finding] | None:
        """Findings of one line; None where the line is not the quick start's."""
        if match := _SCRIPT.fullmatch(text):
            return self._bridge(line, *match.groups())
        if match := _CREATE.fullmatch(text):
            words = dict(word.split("=", 1) for word in match[1].split() if "=" in word)
            return self._machine(line, words)
        return None

    def _bridge(self, line: int, bridge: str, gateway: str, mask: str) -> list[Finding]:
        try:
            self.networks[bridge] = IPv4Network(f"{gateway}/{mask}", strict=False)
        except (AddressValueError, NetmaskValueError, ValueError):
            return [_error(line, f"{gateway}:{mask} is no subnet. Example: {bridge}:10.10.1.1:255.255.255.0.")]
        return [
            Finding(
                line=line,
                severity=Severity.INFO,
                sentence=f"{bridge} carries {self.networks[bridge]}; create it as a zone, CreateZone says how.",
            )
        ]

    def _machine(self, line: int, words: dict[str, str]) -> list[Finding]:
        name, ip = words.get("vmname", "?"), words.get("vmip", "")
        try:
            address = IPv4Address(ip)
        except AddressValueError:
            return [_error(line, f"vmip={ip} is no address, so nothing can be said about {name}.")]
        bridge = words.get("vmbr") or next(iter(self.networks), "")
        network = self.networks.get(bridge)
        if network is None:
            return [_error(line, f"No line above says what {bridge or 'the bridge'} carries.")]
        if address in network:
            return []
        free = network.network_address + (int(address) & 0xFF)
        return [
            _error(
                line,
                f"{name} has {ip}, which is outside {network} of its bridge {bridge}: it would get no lease "
                f"and reach nobody. {free} would fit.",
            )
        ]


def _error(line: int, sentence: str) -> Finding:
    return Finding(line=line, severity=Severity.ERROR, sentence=sentence)
