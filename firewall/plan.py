"""From what is loaded to what a revision wants, on trial: the steps of `firewall.apply`. Pure.

Write the revision's own folder, try exactly these files in a scratch namespace, arm the guard; then, each step
only while this very trial stands: load in the order in which a failure can only close (bridge, IPv6, then raw →
filter → nat), set the kernel's switches with forwarding last, forget the flows whose treatment changed, and say
that all is applied. Nobody but a person makes it the revision in force; until then the guard takes it back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from dom0 import chains
from dom0.errors import Refused
from dom0.members import INSIDE, ZNET
from dom0.plan import Draft, Plan
from dom0.policy_files import LOADERS
from dom0.state import State
from dom0.steps import Command, Hand, Put, Step, WriteFile
from firewall import drift, flows, lint, render
from firewall.drift import FAMILIES, OPTIONAL
from firewall.specs import Site, as_dict, from_dict

SITE = "site.json"
SYSCTLS = "sysctl.conf"
CLOSED = "0"  # the revision every host has: closed but SSH
#: What the trial's room of a host's state has to say.
TRIAL = ("confirmed", "pending", "applied")


@dataclass(frozen=True, kw_only=True)
class Wish:
    """The site one host shall have: `name` is its revision's (NUMBER-DIGEST), `token` names this very trial.

    `folder` holds the host's policy files (absolute, no slash at the end), `seconds` is how long the trial lasts.
    """

    site: Site
    folder: str
    name: str
    token: str
    seconds: int = 60

    @property
    def own(self) -> str:
        return revision_folder(self.folder, self.name)

    @property
    def outcome(self) -> str:
        """Where the host notes how this trial ended."""
        return f"{self.folder}/outcomes/{self.token}.json"

    @property
    def again(self) -> str:
        """The token under which the host notes that this revision, in force, was loaded again."""
        return f"{self.token}-again"

    @property
    def restored(self) -> str:
        """Where it notes so."""
        return f"{self.folder}/outcomes/{self.again}.json"

    @cached_property
    def files(self) -> dict[str, str]:
        """File name → content; the site itself comes last: it says that all before it is written."""
        text = json.dumps(as_dict(self.site), sort_keys=True, indent=1) + "\n"
        return {**render.files(self.site).by_name, SITE: text}


def revision_folder(folder: str, name: str) -> str:
    return f"{folder}/revisions/{name}"


def paths(wish: Wish, confirmed: str) -> tuple[str, ...]:
    """Files whose content the plan depends on; `confirmed` is the revision now in force on the host."""
    own = (f"{wish.own}/{name}" for name in wish.files)
    return (*own, f"{revision_folder(wish.folder, confirmed)}/{SITE}", wish.outcome, wish.restored)


def sysctls(wish: Wish) -> tuple[str, ...]:
    """Kernel settings the plan depends on."""
    return tuple(key for key, _ in render.sysctls(wish.site))


def plan(wish: Wish, state: State) -> Plan:
    """The steps from `state` to `wish` on trial; none where it is so already, on trial or in force.

    Raises Refused while another revision is on trial, where this trial was taken back, and where a card or a
    public address the rules speak of is not on the host.
    """
    pending, confirmed = state.trial.get("pending", ""), state.trial.get("confirmed", CLOSED)
    _refuse_another(wish, pending)
    draft = Draft(state)
    if not pending and confirmed == wish.name:
        _refuse_other_files(wish, state)
        _restore(wish, draft)
        return draft.plan()
    _refuse_ended(wish, state)
    refuse_missing(wish.site, state)
    if not pending:
        _prepare(wish, draft, confirmed)
    else:
        draft.so("files", "The guard has this revision already.")
    _change(wish, draft, confirmed)
    return draft.plan()


def _refuse_another(wish: Wish, pending: str) -> None:
    if pending and pending != wish.token:
        number = pending.partition("-")[0]
        raise Refused(
            f"Revision {number} is on trial on this host; until it is kept or taken back, no other is applied.",
            note=f"Keep revision {number} or return from it, then apply. Wishes can be edited meanwhile.",
        )


def _refuse_other_files(wish: Wish, state: State) -> None:
    """A release that renders otherwise must not change the rules in force without a trial: the guard and the next
    boot would load those that were confirmed.
    """
    for name in (*(name for name, _ in LOADERS), SYSCTLS):
        if state.files.get(f"{wish.own}/{name}", wish.files[name]) != wish.files[name]:
            raise Refused(
                f"Revision {wish.name.partition('-')[0]} was made by another release of Fridu, which said the same "
                f"in other rules ({name}).",
                note="Apply the wishes: that makes a revision of this release's rules, and tries it first.",
            )


def _refuse_ended(wish: Wish, state: State) -> None:
    """A trial has one outcome; going on with one that was taken back would be a second."""
    ended = _noted(wish.outcome, state)
    if ended.get("outcome") == "returned":
        who = "The guard" if ended.get("by") in ("guard", "boot") else "An operator"
        raise Refused(
            f"{who} has taken revision {wish.name.partition('-')[0]} back; the one in force before is live.",
            note="The wishes are kept. Apply them anew: that begins a new trial.",
        )


def _noted(path: str, state: State) -> Mapping[str, object]:
    """How a trial or a restoration ended, as the host has noted it; empty where it hasn't."""
    try:
        found = json.loads(state.files.get(path, "{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def refuse_unfit(site: Site) -> None:
    """Root takes nobody's word for it that a site was looked at: the panel can write to the database.

    Raises Refused for one no page would make; a line end in a name would be a line of its own in a file root loads.
    """
    for text in _texts(as_dict(site)):
        if not text.isprintable():
            raise Refused(f"{text[:60]!r} in this site is no single line of text, so nothing of it is loaded.")
    problem = next(iter(lint.blocking(site)), None)
    if problem is not None:
        raise Refused(f"{problem.about}: {problem.sentence}", note="Nothing was changed. Mend it, then apply anew.")


def _texts(found: object) -> Iterator[str]:
    if isinstance(found, str):
        yield found
    elif isinstance(found, dict):
        # What people write to each other goes into no file of rules.
        yield from (text for key, value in found.items() if key not in ("reason", "author") for text in _texts(value))
    elif isinstance(found, list | tuple):
        yield from (text for value in found for text in _texts(value))


def refuse_missing(site: Site, state: State) -> None:
    """DNAT asks whether an address is dom0's own: one that is missing from its card fails without a word.

    Raises Refused for a card or address of the site that `state` does not have.
    """
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


def _prepare(wish: Wish, draft: Draft, confirmed: str) -> None:
    """Files, dry run, and the guard told: from then on the host goes back by itself."""
    found = draft.state.files
    _write(wish, draft, [name for name, text in wish.files.items() if found.get(f"{wish.own}/{name}") != text])
    draft.do(
        Step(
            stage="dry run",
            title="Load exactly these files in a scratch network namespace",
            action=Hand(verb="firewall-try", args=(("folder", wish.own),)),
            about_s=0.5,
        )
    )
    args = (("token", wish.token), ("revision", wish.name), ("seconds", str(wish.seconds)))
    back = flows.cut(wish.site, noted_site(wish.folder, confirmed, draft.state))
    draft.do(
        Step(
            stage="arm",
            title=f"Have the guard take it back after {wish.seconds} s, unless somebody keeps it",
            action=Hand(verb="firewall-arm", args=args, stdin="".join(f"{line}\n" for line in back)),
            effect=(Put(room="trial", key="pending", value=wish.token),),
        )
    )


def _write(wish: Wish, draft: Draft, names: Iterable[str]) -> None:
    for name in names:
        path, text = f"{wish.own}/{name}", wish.files[name]
        draft.do(
            Step(
                stage="files",
                title=f"Write {name} of the revision",
                # Rules are no secret of the host, but nobody else's business either.
                action=WriteFile(path=path, content=text, mode=0o640),
                effect=(Put(room="files", key=path, value=text),),
            )
        )


def _change(wish: Wish, draft: Draft, confirmed: str) -> None:
    """What is done to the host while the trial stands."""
    state, applied = draft.state, draft.state.trial.get("applied") == wish.token
    steps = [*_loads(wish, state), *_settings(wish, state)]
    for step in steps:
        draft.do(step)
    if applied and not steps:
        draft.so("apply", "These rules are loaded, on trial.")
        return
    if lines := flows.cut(noted_site(wish.folder, confirmed, state), wish.site):
        draft.do(
            Step(
                stage="flows",
                title="Forget the connections that this closes, moves or opens anew",
                action=Hand(verb="flows-forget", stdin="\n".join(lines) + "\n"),
                trial=wish.token,
            )
        )
    draft.do(
        Step(
            stage="applied",
            title="Forget what talks to dom0 itself, so that only the new rules let anybody keep this revision",
            action=Hand(verb="firewall-applied", args=(("token", wish.token),)),
            effect=(Put(room="trial", key="applied", value=wish.token),),
            trial=wish.token,
        )
    )


def _restore(wish: Wish, draft: Draft) -> None:
    """The revision is in force; where the host differs from it, it is loaded again, without a trial: whatever the
    guard took back would be the same. One step, since the guard finishes it where the worker can't.
    """
    number = wish.name.partition("-")[0]
    loads = [*_loads(wish, draft.state), *_settings(wish, draft.state)]
    if not loads:
        by_guard = _noted(wish.restored, draft.state).get("by") in ("guard", "boot")
        who = "The guard has loaded this revision again; it" if by_guard else "This revision"
        draft.so("apply", f"{who} is in force, and the host has its rules.")
        return
    changed = drift.differences(wish.files, wish.site, draft.state)
    _write(wish, draft, [name for name in wish.files if f"{wish.own}/{name}" not in draft.state.files])
    draft.do(
        Step(
            stage="apply",
            title=f"Load revision {number} again where the host differs; once begun, the guard finishes it",
            action=Hand(
                verb="firewall-restore",
                args=(("token", wish.again), ("revision", wish.name)),
                stdin="".join(f"{line}\n" for line in drift.leaked(wish.site, changed)),
            ),
            effect=tuple(change for step in loads for change in step.effect),
            about_s=0.5,
        )
    )


def _loads(wish: Wish, state: State) -> Iterator[Step]:
    """Only families that differ; of v4 and v6 only the chains that do. Sets are made where no rule uses them yet."""
    files = wish.files
    live = {family: state.rules.get(family, "") for family in FAMILIES}
    todo: dict[str, str] = {}
    if not render.bridge_loaded(files[render.BRIDGE], live["bridge"]):
        todo[render.BRIDGE] = ""
    for name, family in ((render.V6, "v6"), (render.V4, "v4")):
        if chains.ours(live[family]) != chains.wanted(files[name]):
            todo[name] = chains.splice(files[name], live[family])
    if render.V4 in todo and not all(f"--match-set {name} " in live["v4"] for name in (ZNET, INSIDE)):
        todo[render.SETS] = ""
    for name, loader in LOADERS:
        if name in todo:
            yield _load(wish, name, loader, todo[name])


_ABOUT = {
    render.SETS: ("sets", "Make sure the membership sets exist"),
    render.BRIDGE: ("bridge", "Load the bridge rules: every frame from a known machine as itself"),
    render.V6: ("v6", "Load the IPv6 rules: closed"),
    render.V4: ("v4", "Load the rules: raw, then filter, then nat"),
}


def _load(wish: Wish, name: str, loader: tuple[str, ...], spliced: str) -> Step:
    family, title = _ABOUT[name]
    text = wish.files[name]
    # With jumps to put in front, and only the chains that differ, the text on stdin is another than the file.
    argv = loader if spliced else (*loader, f"{wish.own}/{name}")
    shows = render.bridge_rules(text) if family == "bridge" else chains.applied(text) if spliced else None
    return Step(
        stage="apply",
        title=title,
        action=Command(argv=argv, stdin=spliced, timeout_s=120),
        effect=(Put(room="rules", key=family, value=shows),) if shows is not None else (),
        trial=wish.token,
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
            trial=wish.token,
        )


def noted_site(folder: str, name: str, state: State) -> Site:
    """The site of a revision on the host; an empty one where none, or none that can be read, was noted."""
    try:
        return from_dict(json.loads(state.files.get(f"{revision_folder(folder, name)}/{SITE}", "")))
    except (ValueError, KeyError, TypeError):
        return Site()
