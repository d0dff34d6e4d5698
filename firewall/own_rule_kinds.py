"""The job kind `firewall.try`: load the site with new own rules in a scratch namespace, and save them if it loads."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from dom0 import chains, guard
from dom0.host import HostConfig
from dom0.plan import Already, Draft, Plan
from dom0.policy_files import LOADERS
from dom0.probe import Scope
from dom0.state import State
from dom0.steps import Hand, Put, Step, WriteFile
from firewall import own_rules, render, rows
from firewall.plan import refuse_missing, refuse_unfit
from firewall.specs import Site
from hosts.kinds import Kind, register
from hosts.models import Job
from hosts.services import actor_of_job


def register_kinds() -> None:
    """Make firewall.try known; called once at start-up."""
    register(
        Kind(
            name=own_rules.KIND,
            queue="net",
            # Nothing of the host is touched: the namespace goes with the step.
            approval="none",
            scope=_scope,
            plan=_plan,
            locks=lambda job: (),
            done=_save,
        )
    )


def note(config: HostConfig) -> str:
    """The file that names the last site that was found to load."""
    return f"{config.state}/firewall-tried"


def plan(site: Site, path: str, state: State, *, job: int = 0) -> Plan:
    """Try the site's files for `job`, then note at `path` that they load; nothing where it noted that last. Pure.

    Each job tries anew: the words the kernel keeps a rule in stand in the output of its own step.
    """
    texts = {name: text for name, text in render.files(site).by_name.items() if name in dict(LOADERS)}
    stdin = json.dumps(texts, indent=1)
    digest = hashlib.sha256(f"{job}\n{stdin}".encode()).hexdigest() + "\n"
    draft = Draft(state)
    if state.files.get(path) == digest:
        draft.so("dry run", "These very rules were found to load.")
        return draft.plan()
    draft.do(
        Step(
            stage="dry run",
            title="Load the site with the new rule in a scratch network namespace",
            action=Hand(verb="firewall-try", stdin=stdin),
            about_s=0.5,
        )
    )
    draft.do(
        Step(
            stage="dry run",
            title="Note that it loads",
            action=WriteFile(path=path, content=digest, mode=0o640),
            effect=(Put(room="files", key=path, value=digest),),
        )
    )
    return draft.plan()


def _scope(job: Job, config: HostConfig) -> Scope:
    # The rules are looked at for the backend alone: reading them refuses the old one.
    return Scope(files=(note(config),), rules=("v4",), links=rows.site_of(job.host).nics)


def _plan(job: Job, state: State, config: HostConfig) -> Plan:
    wanted = own_rules.wanted_of(job)
    site = own_rules.site_with(job.host, wanted, own_rules.replaced_by(job))
    refuse_unfit(site)  # as an apply does: the rows and the job are no more than what the panel wrote
    if not wanted:
        refuse_missing(site, state)
    found = plan(site, note(config), state, job=job.pk)
    return found if wanted else replace(found, items=(*found.items, guards(guard.beating(config))))


def guards(beating: tuple[str, ...]) -> Already:
    """Said of the host as a whole: without a guard nobody would take a trial back, so no apply begins."""
    silent = [name for name in guard.NAMES if name not in beating]
    if not silent:
        return Already(stage="guard", title="Both guards beat")
    units = " ".join(f"fridu-guard@{name}" for name in silent)
    said = "No guard beats, so no apply begins" if not beating else f"Guard {silent[0]} does not beat; the other does"
    return Already(stage="no guard", title=f"{said}. Start it: systemctl start {units}")


def _save(job: Job) -> None:
    """Save the rules in the kernel's words: in others they would differ from what is loaded for ever."""
    kept = chains.kept("\n".join(job.steps.order_by("pk").values_list("output", flat=True)))
    instead = own_rules.replaced_by(job)
    for wanted in own_rules.wanted_of(job):
        head = f"-A fr-{wanted.place} "
        rule = kept.get(head + wanted.rule, head + wanted.rule).removeprefix(head)
        tried = replace(wanted, rule=rule)
        if instead is not None:
            own_rules.custom_replace(actor_of_job(job), instead, tried)
        else:
            own_rules.custom_save(actor_of_job(job), job.host, tried)
