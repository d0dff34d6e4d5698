"""From what is loaded to what a revision wants: the steps of `firewall.apply`. Pure.

Write the files beside the live ones, try exactly them in a scratch namespace, load them in the order in
which a failure can only close (bridge, IPv6, then raw → filter → nat), set the kernel's switches with
forwarding last, cut the flows whose treatment changed, and only then note the revision as the one in force.
Boot loads what is noted; the former stays noted until every step before is done.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dom0 import chains
from dom0.errors import Refused
from dom0.plan import Draft, Plan
from dom0.policy_files import LOADERS
from dom0.state import State
from dom0.steps import Command, Drop, Hand, Put, RemoveFile, Step, WriteFile
from firewall import flows, render
from firewall.specs import Site, as_dict, from_dict

SITE = "site.json"
FAMILIES = ("v4", "v6", "bridge")
#: Exist only while a module or a bridge does; absent is as good as off.
OPTIONAL = ("net.bridge.", "net.ipv6.conf.", "net.ipv4.conf.")


@dataclass(frozen=True, kw_only=True)
class Wish:
    """The site one host shall have, and its folder for policy files (absolute, no slash at the end)."""

    site: Site
    folder: str

    @property
    def confirmed(self) -> str:
        return f"{self.folder}/confirmed"

    @property
    def pending(self) -> str:
        return f"{self.folder}/pending"

    @property
    def files(self) -> dict[str, str]:
        """File name → content; the site itself comes last: it says that all before it is in force."""
        text = json.dumps(as_dict(self.site), sort_keys=True, indent=1) + "\n"
        return {**render.files(self.site).by_name, SITE: text}


def paths(wish: Wish) -> tuple[str, ...]:
    """Files whose content the plan depends on."""
    return tuple(f"{folder}/{name}" for folder in (wish.pending, wish.confirmed) for name in wish.files)


def sysctls(wish: Wish) -> tuple[str, ...]:
    """Kernel settings the plan depends on."""
    return tuple(key for key, _ in render.sysctls(wish.site))


def plan(wish: Wish, state: State) -> Plan:
    """The steps from `state` to `wish`; none where it is so already.

    Raises Refused where a card or a public address the rules speak of is not on the host.
    """
    _refuse_missing(wish.site, state)
    draft = Draft(state)
    load = list(_loads(wish, state))
    settings = list(_settings(wish, state))
    noted = _differing(wish, wish.confirmed, state)
    if load or noted:
        _prepare(wish, draft)
    else:
        draft.so("files", "The host has these rule files already.")
    for step in load:
        draft.do(step)
    if not load:
        draft.so("apply", "These rules are loaded already.")
    for step in (*settings, *_cuts(wish, state)):
        draft.do(step)
    for name, text in noted.items():
        draft.do(_write(wish.confirmed, name, text, "confirm", f"Note {name} as the one in force"))
    for name in wish.files:
        path = f"{wish.pending}/{name}"
        if path in draft.state.files:
            draft.do(
                Step(
                    stage="confirm",
                    title=f"Clear the trial copy of {name}",
                    action=RemoveFile(path=path),
                    effect=(Drop(room="files", key=path),),
                )
            )
    return draft.plan()


def _refuse_missing(site: Site, state: State) -> None:
    """DNAT asks whether an address is dom0's own: one that is missing from its card fails without a word."""
    for nic in site.nics:
        if nic not in state.links:
            raise Refused(
                f"There is no card {nic} on this host, so its rules would hold nothing.",
                note="Mend the card's name in the host's file, /etc/fridu/host.toml, and restart its worker.",
            )
    for address in site.addresses:
        there = {a.split("/")[0] for a in state.links[address.nic].addresses}
        used = any(address.ip in site.addresses_of(s) for s in site.services)
        if address.ip not in there and (used or any(z.external == address.ip for z in site.zones)):
            raise Refused(
                f"{address.ip} is not on {address.nic}: what is published there would silently not answer.",
                note=f"On dom0: ip addr add {address.ip}/32 dev {address.nic}",
            )


def _differing(wish: Wish, folder: str, state: State) -> Mapping[str, str]:
    return {name: text for name, text in wish.files.items() if state.files.get(f"{folder}/{name}") != text}


def _write(folder: str, name: str, text: str, stage: str, title: str) -> Step:
    path = f"{folder}/{name}"
    return Step(
        stage=stage,
        title=title,
        # Rules are no secret of the host, but nobody else's business either.
        action=WriteFile(path=path, content=text, mode=0o640),
        effect=(Put(room="files", key=path, value=text),),
    )


def _prepare(wish: Wish, draft: Draft) -> None:
    for name, text in _differing(wish, wish.pending, draft.state).items():
        draft.do(_write(wish.pending, name, text, "files", f"Write {name} for trial"))
    draft.do(
        Step(
            stage="dry run",
            title="Load exactly these files in a scratch network namespace",
            action=Hand(verb="firewall-try", args=(("folder", wish.pending),)),
            about_s=0.5,
        )
    )


def _loads(wish: Wish, state: State) -> Iterator[Step]:
    files = wish.files
    bridge, v6, v4 = (files[name] for name in (render.BRIDGE, render.V6, render.V4))
    live = {family: state.rules.get(family, "") for family in FAMILIES}
    todo: dict[str, str] = {}
    if not render.bridge_loaded(bridge, live["bridge"]):
        todo[render.BRIDGE] = ""
    if chains.ours(live["v6"]) != chains.wanted(v6):
        todo[render.V6] = chains.splice(v6, live["v6"])
    if chains.ours(live["v4"]) != chains.wanted(v4):
        todo[render.V4] = chains.splice(v4, live["v4"])
    if todo:
        todo[render.SETS] = ""
    for name, loader in LOADERS:
        if name in todo:
            yield _load(wish, name, loader, todo[name], files[name])


_ABOUT = {
    render.SETS: ("sets", "Make sure the membership sets exist"),
    render.BRIDGE: ("bridge", "Load the bridge rules: every frame from a known machine as itself"),
    render.V6: ("v6", "Load the IPv6 rules: closed"),
    render.V4: ("v4", "Load the rules: raw, then filter, then nat"),
}


def _load(wish: Wish, name: str, loader: tuple[str, ...], spliced: str, text: str) -> Step:
    family, title = _ABOUT[name]
    # With jumps to put in front or old chains to throw out, the text on stdin differs from the file.
    argv = loader if spliced not in ("", text) else (*loader, f"{wish.pending}/{name}")
    shows = render.bridge_rules(text) if family == "bridge" else chains.applied(text) if spliced else None
    effect = (Put(room="rules", key=family, value=shows),) if shows is not None else ()
    return Step(
        stage="apply",
        title=title,
        action=Command(argv=argv, stdin=spliced if argv == loader else "", timeout_s=120),
        effect=effect,
    )


def _settings(wish: Wish, state: State) -> Iterator[Step]:
    for key, value in render.sysctls(wish.site):
        found = state.sysctls.get(key)
        if found == value or (found is None and key.startswith(OPTIONAL)):
            continue
        yield Step(
            stage="sysctl",
            title=f"Set {key} to {value}",
            action=Command(argv=("sysctl", "-w", f"{key}={value}")),
            effect=(Put(room="sysctls", key=key, value=value),),
        )


def _cuts(wish: Wish, state: State) -> Iterator[Step]:
    """Against the site that was noted last: a job killed before its cuts makes them when it goes on."""
    for argv in flows.cut(noted_site(wish, state), wish.site):
        yield Step(
            stage="flows",
            title=f"Forget the connections of {' '.join(argv[2:])}",
            action=Command(argv=argv, ok_codes=(0, 1)),
        )


def noted_site(wish: Wish, state: State) -> Site:
    """The site in force on the host; an empty one where none, or none that can be read, was noted."""
    try:
        return from_dict(json.loads(state.files.get(f"{wish.confirmed}/{SITE}", "")))
    except (ValueError, KeyError, TypeError):
        return Site()
