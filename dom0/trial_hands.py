"""A trial by hand, as a plan's steps and an operator at night do it: `fridu-hand firewall-…`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dom0 import trial
from dom0.errors import Refused
from dom0.host import HostConfig


def _arm(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    """On stdin the flows to forget when it is taken back, one filter a line."""
    back = [line for line in stdin.splitlines() if line.strip()]
    armed = trial.arm(config, token=args["token"], revision=args["revision"], seconds=int(args["seconds"]), back=back)
    return f"The guard takes revision {armed.revision} back in {armed.seconds_left:.0f} s unless it is confirmed."


def _applied(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    trial.note_applied(config, args["token"])
    return "Every connection to dom0 itself is judged anew; the trial may be confirmed."


def _confirm(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    trial.confirm(config, args["token"], args["nonce"])
    return f"Revision {trial.read(config).confirmed} is confirmed."


def _return(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    standing = trial.read(config)
    token = args.get("token", standing.pending.token if standing.pending else "")
    if standing.confirmed_token and standing.confirmed_token == token:
        raise Refused("This trial was confirmed.", note="Apply the former revision again instead.")
    if standing.pending and standing.pending.token != token:
        raise Refused(f"Another trial stands: {standing.pending.token}.", note="Name that one.")
    said: list[str] = []
    trial.take_back(config, "operator", said.append)
    return "\n".join(said) or f"No trial stands; {standing.confirmed} is in force."


def _restore(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    """On stdin the flows to forget once it is loaded, one filter a line. By hand it needs neither words nor stdin."""
    confirmed = trial.read(config).confirmed
    revision = args.get("revision", confirmed)
    back = [line for line in stdin.splitlines() if line.strip()]
    said: list[str] = []
    trial.restore(config, args.get("token", f"{confirmed}-hand"), revision, back, said.append)
    return "\n".join(said)


def _stop(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    said: list[str] = []
    trial.stop(config, said.append)
    return "\n".join([*said, "Closed but for SSH. Apply a revision to open again."])


VERBS: Mapping[str, Callable[[HostConfig, Mapping[str, str], str], str]] = {
    "firewall-arm": _arm,
    "firewall-applied": _applied,
    "firewall-confirm": _confirm,
    "firewall-return": _return,
    "firewall-restore": _restore,
    "firewall-stop": _stop,
}
