"""Workers that die: for snippets of test_killed, inside a private dom0 (see tests.host.life).

Each worker is a fork of this one process, so a death costs a fork and not a start of Django.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import django
from django.core.exceptions import ValidationError

from dom0 import domains, execute, marks, volumes
from dom0.steps import Step
from hosts import work
from hosts.models import Job
from machines import services
from machines.addresses import free_addresses
from machines.change_services import machine_change
from machines.models import Machine
from machines.reinstall_services import machine_reinstall
from tests.host import life
from tests.host.life import actor, answers, asked, carried, config, machine, ssh, told
from tests.life import dying
from tests.life.dying import MOMENTS, When
from zones.models import Zone

NAME, ADDRESS, NEIGHBOUR, BESIDE = "Mail", "10.10.2.4", "Web", "10.10.2.5"
MOST = 100  # deaths of one job; beyond, it does not come nearer to its end


@dataclass
class Scene:
    """What must be the same however many workers die, and what each step took when nobody did."""

    foreign: dict[str, str]
    neighbour: int
    steps: list[int] = field(default_factory=list)  # of each deed, by nobody's death
    took: dict[str, float] = field(default_factory=dict)
    deaths: Counter[str] = field(default_factory=Counter)


def settle() -> Scene:
    """A neighbour that runs, volumes of nobody's, and one life of the machine with nobody killed, measured."""
    life.create(NEIGHBOUR, BESIDE)
    for name in ("Mail-swap.img", "Mail-root.img.old", "Mai-root.img", "Mail2-root.img"):
        Path(config.volumes, name).write_bytes(os.urandom(1 << 16))
    scene = Scene(foreign={}, neighbour=0)
    perform = execute.perform

    def timed(step: Step, *rest: Any) -> Any:
        began = time.monotonic()
        try:
            return perform(step, *rest)
        finally:
            scene.took[dying.called(step)] = time.monotonic() - began

    execute.perform = timed
    for deed in DEEDS:
        ended = carried(deed.ask())
        assert ended["state"] == "done", ended
        scene.steps.append(len(set(ended["done"])))
    execute.perform = perform
    scene.foreign, scene.neighbour = _foreign(), _neighbour()
    return scene


def _foreign() -> dict[str, str]:
    """Everything among the volumes that is not the machine's, its marks as well."""
    found = {}
    for path in sorted(Path(config.volumes).iterdir()):
        mine = _mark(path, "machine")
        if mine and not Machine.objects.filter(name=NEIGHBOUR, uuid=mine).exists():
            continue
        running = bool(mine)
        content = "" if running else hashlib.sha256(path.read_bytes()).hexdigest()
        found[path.name] = f"{mine} {_mark(path, 'root')} {path.stat().st_size} {content}"
    return found


def _mark(path: Path, name: str) -> str:
    try:
        return os.getxattr(path, f"{marks.PREFIX}{name}").decode()
    except OSError:
        return ""


def _neighbour() -> int:
    uuid = str(machine(NEIGHBOUR).uuid)
    return domains.running(config, [uuid]).get(uuid, 0)


# -- deaths


def dies(job: Job, when: When, scene: Scene, chance: random.Random) -> tuple[str, str] | None:
    """A worker's death, counted."""
    death = dying.dies(job, when, scene.took, chance)
    if death is not None:
        scene.deaths[f"{job.kind} {death[1]}"] += 1
    return death


def killed_at_every_step(deed: Deed, scene: Scene, seed: int) -> tuple[int, int]:
    """One job of the deed's kind whose workers die before, during and after each of its steps; at how many steps, and
    how many died. A short step may be over before its worker dies during it; then that was after it."""
    job, chance, died = deed.ask(), random.Random(seed), Counter[str]()

    def when(step: str, number: int) -> str:
        return MOMENTS[died[step]] if died[step] < len(MOMENTS) else ""

    while True:
        death = dies(job, when, scene, chance)
        if death is None:
            if dying.approved(job, actor()):
                continue
            _ended(deed, job, scene)
            return len(died), died.total()
        died[death[0]] += 1
        assert died.total() < MOST, told(job)
        check_midway(job, scene)
        dying.goes_on(job, actor(), config)


def killed_somewhere(deed: Deed, scene: Scene, chance: random.Random) -> list[str]:
    """A job of the deed's kind, killed at one random moment, now and then at a second; where."""
    job, where = deed.ask(), []
    for _ in range(1 if chance.random() < 0.7 else 2):
        at, moment = chance.randrange(scene.steps[DEEDS.index(deed)]), chance.choice(MOMENTS)
        if death := dies(job, lambda _, number, at=at, moment=moment: moment if number == at else "", scene, chance):
            where.append(f"{job.kind} {moment} {death[0]}")
            check_midway(job, scene)
            dying.goes_on(job, actor(), config)
        else:
            break
    job.refresh_from_db()
    while job.state not in (Job.State.DONE, Job.State.NOTHING):
        ended = carried(job)
        assert dying.approved(job, actor()) or ended["state"] in ("done", "nothing"), (where, ended)
        job.refresh_from_db()
    _ended(deed, job, scene)
    return where


def _ended(deed: Deed, job: Job, scene: Scene) -> None:
    end = told(job)
    assert end["state"] in ("done", "nothing"), end
    deed.check()
    check_all(scene)


# -- what must be so


def check_midway(job: Job, scene: Scene) -> None:
    """Whoever asks for its address meanwhile does not get it, and nobody else's was touched."""
    row = Machine.objects.filter(pk=job.target_id).first()
    if row is not None:
        assert row.address not in free_addresses(Zone.objects.get(name="zDominig"), 300)
        with contextlib.suppress(ValidationError):
            asked("Thief", row.address)
            raise AssertionError(f"{row.address} was handed out twice")
    check_others(scene)


def check_others(scene: Scene) -> None:
    assert _foreign() == scene.foreign
    assert _neighbour() == scene.neighbour


def check_all(scene: Scene) -> None:
    """Each address has one interface, each volume of ours one machine, each machine its domain."""
    check_others(scene)
    rows = {str(m.uuid): m for m in Machine.objects.all()}
    owners = {path.name: _mark(path, "machine") for path in Path(config.volumes).iterdir()}
    assert {mine for mine in owners.values() if mine} == set(rows), owners
    assert {domain.uuid for domain in domains.look_at_all(config).values()} == set(rows)
    listed = subprocess.run(("nft", "list", "set", "bridge", "fridu", "members"), capture_output=True, text=True).stdout
    for row in rows.values():
        assert listed.count(f" {row.address} ") + listed.count(f" {row.address},") == 1, listed
    mounted = Path("/proc/self/mountinfo").read_text()
    assert {uuid for uuid in rows if f"/machines/{uuid} " in mounted} == set(rows)
    loops = [p.read_text().strip() for p in Path("/sys/block").glob("loop*/loop/backing_file")]
    assert not [path for path in loops if "(deleted)" in path and config.volumes in path], loops


def runs_as_wished() -> None:
    """It answers by its own name, at its own address."""
    assert answers(ADDRESS, 2525, b"220 Mail"), "it does not answer"
    assert machine(NAME).observed == Machine.Observed.RUNNING
    found = volumes.look(config, machine(NAME).name + "-root")
    assert found is not None
    assert (found.machine, found.unfinished) == (str(machine(NAME).uuid), "")


# -- what is done


@dataclass(frozen=True)
class Deed:
    """A job that is asked for, and what is so once it has ended well."""

    ask: Callable[[], Job]
    check: Callable[[], None]


def _size() -> int:
    text = ssh(ADDRESS, "df -m / | tail -1") if answers(ADDRESS, 22, b"SSH") else ""
    return int(text.split()[1])


def _larger() -> Job:
    row = machine(NAME)
    return machine_change(actor(), row, root_mib=row.root_mib + 32, memory_mib=96, vcpus=2, approved=True)


def _grown() -> None:
    runs_as_wished()
    row = machine(NAME)
    found = volumes.look(config, f"{NAME}-root")
    assert found is not None
    assert (row.memory_mib, row.vcpus, found.size_bytes) == (96, 2, row.root_mib << 20)


def _anew() -> Job:
    assert answers(ADDRESS, 22, b"SSH")
    assert ssh(ADDRESS, "echo old > /root/note; echo old > /var/log/note; sync") == ""
    return machine_reinstall(actor(), machine(NAME), approved=True)


def _renewed() -> None:
    runs_as_wished()
    assert answers(ADDRESS, 22, b"SSH")
    assert ssh(ADDRESS, "cat /root/note /var/log/note 2>/dev/null; hostname") == "Mail"


def _gone() -> None:
    assert not Machine.objects.filter(name=NAME).exists()
    mine = {f"{NAME}-root.img", f"{NAME}-log.img", NAME, f"machine-{NAME}.nft", "fr0a0a0204"}
    assert not [each for each in life.left() if each.rpartition("/")[2] in mine]


CREATE = Deed(lambda: asked(NAME, ADDRESS, log_mib=16), runs_as_wished)
CHANGE = Deed(_larger, _grown)
REINSTALL = Deed(_anew, _renewed)
DELETE = Deed(lambda: services.machine_delete(actor(), machine(NAME), approved=True), _gone)
#: A life; each leaves what the next one needs.
DEEDS = (CREATE, CHANGE, REINSTALL, DELETE)


# -- more workers than one


def all_at_once(job: Job, workers: int, times: int) -> list[str]:
    """So many workers who get the same message so many times each; the steps that were carried out, by any of them."""
    book = Path("/run/fridu/book")
    book.write_text("")
    waits, opens = os.pipe()
    children = [_eager(job, times, book, waits, opens) for _ in range(workers)]
    os.close(opens)  # nobody begins before all are there
    os.close(waits)
    for child in children:
        os.waitpid(child, 0)
    return book.read_text().splitlines()


def _eager(job: Job, times: int, book: Path, waits: int, opens: int) -> int:
    child = os.fork()
    if child == 0:
        os.close(opens)
        os.read(waits, 1)
        django.db.connections.close_all()
        perform = execute.perform

        def booked(step: Step, *rest: Any) -> Any:
            with book.open("a") as lines:
                lines.write(f"{step.stage} {step.title}\n")
            return perform(step, *rest)

        execute.perform = booked
        try:
            for _ in range(times):
                work.run(job.pk)
        finally:
            os._exit(0)
    return child
