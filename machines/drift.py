"""What the watcher's round finds of each machine otherwise than wished, and of domains the panel does not know.

One sweep a round: every definition, file, membership and volume at once, whatever number of machines.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from django.db import transaction

from dom0 import members, probe
from dom0.found import Found
from dom0.host import HostConfig
from dom0.probe import Scope
from dom0.state import State
from hosts.models import Host, Job
from machines import differences, limits_stages, stages
from machines.kinds import spec_of
from machines.models import Machine
from machines.specs import MachineSpec

UNKNOWN = "unknown"  # the key in a host's figures
MOST = 100  # unknown domains that are told of
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,60}")
_ADDRESS = re.compile(r"\. (?!0\.0\.0\.0)(\d{1,3}(?:\.\d{1,3}){3}) \}")


def sweep(config: HostConfig) -> None:
    """Look at every definition, and at the files, membership and volumes of every finished machine; book it."""
    host = Host.objects.filter(name=config.name).first()
    if host is not None:
        settled = _settled(config)
        state = probe.probe(config, scope([spec for _, spec in settled]))
        book(host, settled, state, unknown(config, host, state))


def unknown(config: HostConfig, host: Host, state: State) -> list[dict[str, Any]]:
    """The domains no machine of the panel is, with what lies on the host about those that were made by Fridu."""
    known = {str(each) for each in Machine.objects.filter(host=host).values_list("uuid", flat=True)}
    strangers = [one for one in state.found.values() if one.uuid not in known][:MOST]
    names = {one.uuid: [_volume_name(config, path) for path in one.volumes] for one in strangers if one.ours}
    wanted = Scope(
        volumes=tuple(name for each in names.values() for name in each if name),
        files=tuple(_members_file(config, one) for one in strangers if one.ours),
    )
    kept = probe.probe(config, wanted) if names else State()
    return [{**_told(one), "more": _more(config, one, names.get(one.uuid, []), kept)} for one in strangers]


def _members_file(config: HostConfig, one: Found) -> str:
    name = one.name if _NAME.fullmatch(one.name) else "-"
    return f"{config.state}/members/machine-{name}.nft"


def _volume_name(config: HostConfig, path: str) -> str:
    """The volume at that path; "" for what is none of the places volumes lie in."""
    folder, _, name = path.rpartition("/")
    group = folder.removeprefix("/dev/")
    if folder == config.volumes and name.endswith(".img"):
        name = name.removesuffix(".img")
        return name if _NAME.fullmatch(name) else ""
    return f"{group}/{name}" if group in config.volume_groups and _NAME.fullmatch(name) else ""


def _more(config: HostConfig, one: Found, names: list[str], kept: State) -> dict[str, Any]:
    """Sizes, marks and address of one that carries our metadata; {} for anything else."""
    more: dict[str, Any] = {"uid_base": one.uid_base} if one.ours else {}
    for name in names:
        volume = kept.volumes.get(name)
        kind = name.rpartition("-")[2]
        if volume is None or volume.machine != one.uuid or kind not in ("root", "swap", "log"):
            continue
        more |= {f"{kind}_mib": volume.size_bytes // (1 << 20), "volume_group": name.rpartition("/")[0]}
        if kind == "root" and volume.tuned and not volume.unfinished:
            more["root"] = volume.root
    said = _ADDRESS.search(kept.files.get(_members_file(config, one), "")) if one.ours else None
    return more | ({"address": said[1]} if said else {})


def scope(specs: Sequence[MachineSpec]) -> Scope:
    """What the sweep looks at, once for all of them."""
    paths = [path for spec in specs for path in _paths(spec)]
    volumes = [volume.name for spec in specs if not spec.foreign for volume in spec.volumes]
    return Scope(
        found=("*",),
        volumes=tuple(volumes),
        files=tuple(paths),
        members=(members.EVERY_VIF,) if specs else (),
        room=bool(volumes),
    )


def book(
    host: Host, settled: Sequence[tuple[Machine, MachineSpec]], state: State, unknown: list[dict[str, Any]]
) -> None:
    """Write down what differs; a row is written only where that changed. Machines with an open job are left alone."""
    open_jobs = Job.objects.filter(target_kind="machine", state__in=Job.OPEN)
    with transaction.atomic():
        busy = set(open_jobs.values_list("target_id", flat=True))
        for machine, spec in settled:
            drift = differences.as_json(differences.differences(spec, state))
            if machine.pk not in busy and drift != machine.drift:
                Machine.objects.filter(pk=machine.pk).update(drift=drift)
        host = Host.objects.select_for_update().get(pk=host.pk)
        if host.figures.get(UNKNOWN, []) != unknown:
            host.figures[UNKNOWN] = unknown
            host.save(update_fields=["figures"])


def _settled(config: HostConfig) -> list[tuple[Machine, MachineSpec]]:
    rows = Machine.objects.filter(host__name=config.name, deleting=False).exclude(built_at=None)
    return [(row, spec_of(row, config, keys=())) for row in rows.select_related("zone", "image", "rescue")]


def _paths(spec: MachineSpec) -> tuple[str, ...]:
    ethers, hosts = stages.dhcp(spec)
    return (ethers.path, hosts.path, spec.members_file, spec.autostart_file, limits_stages.path(spec))


def _told(one: Found) -> dict[str, Any]:
    return {
        "name": one.name,
        "uuid": one.uuid,
        "kind": one.kind,
        "running": one.running,
        "ours": one.ours,
        "memory_mib": one.memory_mib,
        "vcpus": one.vcpus,
        "cards": [{"mac": card.mac, "bridge": card.bridge, "vif": card.vif} for card in one.cards],
        "volumes": list(one.volumes),
    }
