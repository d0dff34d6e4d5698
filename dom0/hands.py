"""dom0's own verbs: what no single command does. A verb gets the host file, its arguments and stdin."""

from __future__ import annotations

from dom0.errors import Refused
from dom0.host import HostConfig
from dom0.steps import Hand


def do(hand: Hand, config: HostConfig) -> str:
    """Carry out a verb; returns what it says. Raises Refused for a verb nobody knows."""
    raise Refused(f"dom0 has no verb {hand.verb}.")
