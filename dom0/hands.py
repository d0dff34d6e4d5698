"""dom0's own verbs: what no single command does. A verb gets the host file, its arguments and stdin.

By hand, as root on dom0: `bin/fridu-hand VERB key=value … < stdin`, as a plan shows it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from dom0 import (
    doctor,
    doctor_host,
    flows,
    golden,
    host,
    image_files,
    limits,
    network,
    openvpn,
    policy,
    probing,
    trial_hands,
    volume_hands,
)
from dom0.errors import FriduError, Refused
from dom0.host import HostConfig
from dom0.steps import Hand

Args = Mapping[str, str]
Verb = Callable[[HostConfig, Args, str], str]
MIB = 1 << 20


def do(hand: Hand, config: HostConfig) -> str:
    """Carry out a verb; returns what it says. Raises Refused for a verb or argument nobody knows."""
    if hand.verb not in VERBS:
        raise Refused(f"dom0 has no verb {hand.verb}.", note=f"It has {', '.join(sorted(VERBS))}.")
    try:
        return VERBS[hand.verb](config, dict(hand.args), hand.stdin)
    except KeyError as error:
        raise Refused(f"{hand.verb} needs {error.args[0]}=….") from error


def _golden_make(config: HostConfig, args: Args, stdin: str) -> str:
    devices, kind = args.get("devices") == "yes", args.get("filesystem", "ext4")
    made = golden.make(config, args["archive"], args["digest"], devices=devices, kind=kind)
    if "root_mib" in args:
        golden.refuse_too_large(made, int(args["root_mib"]))
    return f"{made.path}: {-(-made.size_bytes // MIB)} MB"


def _domain(verb: str) -> Verb:
    def run(config: HostConfig, args: Args, stdin: str) -> str:
        from dom0 import domain_hands  # only when needed: the panel imports us too and may have no libvirt

        return domain_hands.VERBS[verb](config, args, stdin)

    return run


DOMAIN_VERBS = (
    "domain-define",
    "domain-autostart",
    "domain-start",
    "domain-stop",
    "domain-force-off",
    "domain-pause",
    "domain-resume",
    "domain-memory",
    "domain-undefine",
)


VERBS: dict[str, Verb] = {
    "golden-make": _golden_make,
    **{verb: _domain(verb) for verb in DOMAIN_VERBS},
    **image_files.VERBS,
    **limits.VERBS,
    **network.VERBS,
    **openvpn.VERBS,
    **policy.VERBS,
    **probing.VERBS,
    **trial_hands.VERBS,
    **volume_hands.VERBS,
    **flows.VERBS,
    **doctor.VERBS,
    **doctor_host.VERBS,
}


def main(argv: list[str]) -> None:
    """One verb by hand; a refusal is its sentence on stderr."""
    if not argv or any("=" not in word for word in argv[1:]):
        sys.exit(f"Usage: fridu-hand VERB key=value …\nVerbs: {', '.join(sorted(VERBS))}")
    args = tuple((key, value) for key, _, value in (word.partition("=") for word in argv[1:]))
    stdin = "" if sys.stdin.isatty() else sys.stdin.read()
    try:
        sys.stdout.write(do(Hand(verb=argv[0], args=args, stdin=stdin), host.load()) + "\n")
    except Refused as error:
        sys.exit(f"{error.message} {error.note}".strip())
    except (FriduError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
