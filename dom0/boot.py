"""What a zone network needs after dom0 has started, from dom0's own files: `python -m dom0.boot`, as root.

It asks no panel, broker or database, runs before libvirt starts machines, and may be run again at any time.
Order: membership, then the policy in force, then bridges, dnsmasq, and forwarding last and only behind a policy
that loaded.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from dom0 import addresses, bridge, chains, dnsmasq, files, host, members, network, runner, shaping
from dom0.errors import FriduError
from dom0.host import HostConfig
from dom0.policy_files import LOADERS

Say = Callable[[str], None]


def boot(config: HostConfig, say: Say) -> bool:
    """Bring the network up; says each thing that went wrong and goes on. Whether all went well."""
    tries = [_try(say, "the membership sets", partial(_membership, config))]
    policy = _try(say, "the firewall policy", partial(_policy, config))
    for path in _kept(config, "zones", "*.json"):
        tries.append(_try(say, f"the bridge of {path.stem}", partial(_bridge, path)))
        tries.append(_try(say, f"the bandwidth of {path.stem}", partial(_shape, path)))
    for added in addresses.kept(config):
        tries.append(_try(say, f"the address {added.address}", partial(addresses.put, config, added)))
    for path in _kept(config, "dnsmasq", "*.conf"):
        tries.append(_try(say, f"dnsmasq of {path.stem}", partial(_dnsmasq, config, path)))
    if policy:
        tries.append(_try(say, "the kernel's settings", partial(_settings, config)))
    else:
        say("Forwarding stays as it is: without its policy this host forwards nothing new.")
    return policy and all(tries)


def _try(say: Say, what: str, do: Callable[[], None]) -> bool:
    try:
        do()
    except (FriduError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        say(f"{what} failed: {error}")
        return False
    return True


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


def _policy(config: HostConfig) -> None:
    for name, loader in LOADERS:
        path = f"{config.state}/firewall/confirmed/{name}"
        text = files.read_text(path)
        if text is None:
            continue
        if name.endswith(".rules"):
            save = runner.run((loader[0].replace("-restore", "-save"),)).stdout
            runner.run(loader, stdin=chains.splice(text, save), timeout_s=120)
        else:
            runner.run((*loader, path), timeout_s=120)


def _settings(config: HostConfig) -> None:
    path = Path(config.state, "firewall", "confirmed", "sysctl.conf")
    if path.exists():
        # -e: what belongs to a module that is not loaded is not there, and off.
        runner.run(("sysctl", "-e", "-p", str(path)))


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


def _shape(path: Path) -> None:
    wanted = bridge.read(path.read_text())
    if wanted.in_kbit or wanted.out_kbit:
        shaping.apply(wanted.name, wanted.in_kbit, wanted.out_kbit)


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
