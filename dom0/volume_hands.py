"""dom0's verbs for volumes. Sizes in MiB; `force=yes` allows what loses something."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from dom0 import filesystems, golden, growing, tune, volumes
from dom0.errors import Refused
from dom0.host import HostConfig

Args = Mapping[str, str]
MIB = 1 << 20


def _mib(args: Args) -> int:
    """`size_mib` in bytes. Raises Refused for what is no size."""
    text = args["size_mib"]
    if not text.isascii() or not text.isdecimal() or not 0 < int(text) <= 1 << 30:
        raise Refused(f"“{text[:40]}” is no size in MB.", note="Use a whole number, such as size_mib=2048.")
    return int(text) * MIB


def _forced(args: Args) -> bool:
    return args.get("force", "no") == "yes"


def _create(config: HostConfig, args: Args, stdin: str) -> str:
    volumes.create(config, args["name"], _mib(args), args["machine"], anew=args.get("anew", ""))
    return f"{volumes.path_of(config, args['name'])}: {args['size_mib']} MB, empty"


def _grow(config: HostConfig, args: Args, stdin: str) -> str:
    volumes.grow(config, args["name"], _mib(args), args["machine"])
    return f"{args['name']} has {args['size_mib']} MB"


def _shrink(config: HostConfig, args: Args, stdin: str) -> str:
    volumes.shrink(config, args["name"], _mib(args), args["machine"], force=_forced(args))
    return f"{args['name']} has {args['size_mib']} MB"


def _rename(config: HostConfig, args: Args, stdin: str) -> str:
    volumes.rename(config, args["name"], args["to"], args["machine"])
    return f"{args['name']} is called {args['to']}"


def _grow_filesystem(config: HostConfig, args: Args, stdin: str) -> str:
    return growing.fill(
        config, args["volume"], args["machine"], online=args.get("online", "no") == "yes", uid=int(args["uid"])
    )


def _wipe(config: HostConfig, args: Args, stdin: str) -> str:
    volumes.wipe(config, args["name"], args["machine"], args.get("id", ""))
    return f"{args['name']} was zeroed"


def _remove(config: HostConfig, args: Args, stdin: str) -> str:
    volumes.remove(config, args["name"], args["machine"], args.get("id", ""))
    return f"{args['name']} was zeroed and removed"


def _snapshot(config: HostConfig, args: Args, stdin: str) -> str:
    size = _mib(args) if "size_mib" in args else 0
    copy, running = args.get("copy", "no") == "yes", args.get("running", "no") == "yes"
    volumes.snapshot(config, args["name"], args["label"], args["machine"], size_bytes=size, copy=copy, running=running)
    return f"{args['name']} is kept as {args['name']}.{args['label']}"


def _restore(config: HostConfig, args: Args, stdin: str) -> str:
    generation = int(args.get("generation", "0"))
    volumes.restore(config, args["name"], args["label"], args["machine"], generation=generation)
    return f"{args['name']} is what it was when {args['label']} was taken"


def _filesystem(config: HostConfig, args: Args, stdin: str) -> str:
    filesystems.create(
        config,
        name=args["volume"],
        machine=args["machine"],
        kind=args.get("type", "ext4"),
        fs_uuid=args["fs_uuid"],
        force=_forced(args),
        anew=args.get("anew", ""),
    )
    return f"{args['volume']} holds {args.get('type', 'ext4')}"


def _hand_over(config: HostConfig, args: Args, stdin: str) -> str:
    volumes.hand_over(config, args["name"], args["machine"])
    return f"{args['name']} is no longer known to be empty"


def _install(config: HostConfig, args: Args, stdin: str) -> str:
    return golden.install(
        config,
        digest=args["image"],
        volume=args["volume"],
        machine=args["machine"],
        fs_uuid=args["fs_uuid"],
        generation=int(args["generation"]),
        force=_forced(args),
    )


def _tune(config: HostConfig, args: Args, stdin: str) -> str:
    lacking = tune.tune(volumes.path_of(config, args["volume"]), json.loads(stdin))
    return "\n".join((f"{args['volume']} is tuned", *(lacking or ())))


VERBS: dict[str, Callable[[HostConfig, Args, str], str]] = {
    "volume-create": _create,
    "volume-hand-over": _hand_over,
    "volume-grow": _grow,
    "volume-shrink": _shrink,
    "volume-rename": _rename,
    "volume-wipe": _wipe,
    "volume-remove": _remove,
    "volume-snapshot": _snapshot,
    "volume-snapshot-restore": _restore,
    "fs-create": _filesystem,
    "fs-grow": _grow_filesystem,
    "root-install": _install,
    "root-tune": _tune,
}
