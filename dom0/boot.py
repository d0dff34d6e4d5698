"""What a zone network needs after dom0 has started, from dom0's own files: `python -m dom0.boot`, as root.

It asks no panel, broker or database, runs before libvirt starts machines, and may be run again at any time.
Order: closed but SSH, membership, bridges, dnsmasq, then the confirmed revision, forwarding last and only behind
rules that loaded. A revision that was on trial is taken back.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from dom0 import (
    addresses,
    bridge,
    closed,
    dnsmasq,
    host,
    loading,
    members,
    network,
    runner,
    saving,
    shaping,
    trial,
    writer,
)
from dom0.errors import FriduError, Refused
from dom0.host import HostConfig

Say = Callable[[str], None]


def boot(config: HostConfig, say: Say) -> bool:
    """Bring the network up; says each thing that went wrong and goes on. Whether all went well."""
    if not _try(say, "finding the host's cards", partial(_refuse_without_cards, config)):
        return False  # closed rules would hold SSH open on cards that aren't there, and cut everybody off
    tries = [_try(say, "closing the host", partial(_close, config))]
    tries.append(_try(say, "the membership sets", partial(_membership, config)))
    for path in _kept(config, "zones", "*.json"):
        tries.append(_try(say, f"the bridge of {path.stem}", partial(_bridge, path)))
        tries.append(_try(say, f"the bandwidth of {path.stem}", partial(_shape, config, path)))
    for added in addresses.kept(config):
        tries.append(_try(say, f"the address {added.address}", partial(addresses.put, config, added)))
    for path in _kept(config, "dnsmasq", "*.conf"):
        tries.append(_try(say, f"dnsmasq of {path.stem}", partial(_dnsmasq, config, path)))
    tries.append(_try(say, "the firewall policy", partial(_policy, config, say)))
    return all(tries)


def _try(say: Say, what: str, do: Callable[[], None]) -> bool:
    try:
        do()
    except (FriduError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        say(f"{what} failed: {error}")
        return False
    return True


def _refuse_without_cards(config: HostConfig) -> None:
    named = [nic.name for nic in config.nics]
    if named and not network.links(set(named)):
        raise Refused(
            f"{host.file()} names the card {' and '.join(named)}, and there is none; the firewall stays as it is.",
            note="Put the name that `ip link` shows into its [[nic]], then start fridu-boot again.",
        )


def _kept(config: HostConfig, room: str, pattern: str) -> list[Path]:
    return sorted(path for path in Path(config.state, room).glob(pattern) if not path.name.startswith("."))


def _membership(config: HostConfig) -> None:
    for argv in members.create_sets():
        runner.run(argv)
    for member in members.host_members(config.vpn_network):
        runner.run(member.add)
    for path in _kept(config, "members", "*.ipset"):
        runner.run(("ipset", "-exist", "restore", "-file", str(path)))
    for path in _kept(config, "members", "*.nft"):
        runner.run(("nft", "-f", str(path)))


def _close(config: HostConfig) -> None:
    """Before anything else: closed but SSH. Not where a policy is loaded already: by hand, boot cuts nobody off."""
    loading.write_closed(config)
    if "fr-in" not in saving.save("v4"):
        with writer.restoring(config):
            loading.load(closed.files(config))


def _policy(config: HostConfig, say: Say) -> None:
    """The confirmed revision, forwarding last. What was on trial when the host went down was never confirmed."""
    if not trial.load_confirmed(config, "boot", say):
        raise Refused("The confirmed revision does not load, so the host stays closed but for SSH.")


def _bridge(path: Path) -> None:
    wanted = bridge.read(path.read_text())
    link = network.links({wanted.name}).get(wanted.name)
    if link is None:
        runner.run(wanted.add)
    there = network.sysctls([key for key, _ in wanted.sysctls])
    runner.run(bridge.settings(tuple(pair for pair in wanted.sysctls if pair[0] in there)))
    if link is None or wanted.address not in link.addresses:
        runner.run(wanted.addressed("add", wanted.address))
    runner.run(wanted.up)


def _shape(config: HostConfig, path: Path) -> None:
    wanted = bridge.read(path.read_text())
    if wanted.in_kbit or wanted.out_kbit:
        shaping.apply(wanted.name, wanted.in_kbit, wanted.out_kbit, shaping.kept_shares(config, wanted.name))


def _dnsmasq(config: HostConfig, path: Path) -> None:
    where = dnsmasq.Files(state=config.state, run=config.run, zone=path.stem)
    Path(where.pid).parent.mkdir(parents=True, exist_ok=True)
    service = dnsmasq.service(path.stem)
    if service not in network.services(config, (service,)):
        started = dnsmasq.start(where, path.read_text())
        runner.run(started.argv, timeout_s=started.timeout_s)


def _say(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")


def main() -> int:
    """Exit code 0 where everything is up, 1 where something is not: it stands on stderr."""
    try:
        config = host.load()
    except FriduError as error:
        _say(str(error))
        return 1
    return 0 if boot(config, _say) else 1


if __name__ == "__main__":
    sys.exit(main())
