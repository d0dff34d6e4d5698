# ruff: noqa: E402, F401 - snippets use what is imported here, once Django is set up
"""Runs inside a private dom0: the panel's rows and the worker's hands in one process, for test_machine_life.

`python -m tests.host.life` reads a snippet on stdin, gives it the names below, and prints what it left in `out`.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

DATABASE = "/var/lib/fridu/life.sqlite3"
os.environ |= {
    "DJANGO_SETTINGS_MODULE": "fridu_site.settings",
    "FRIDU_DATABASE_URL": f"sqlite:///{DATABASE}",
    "FRIDU_BROKER_URL": "memory://",
}

import django

django.setup()

from django.core.management import call_command

from accounts.models import Owner, SSHKey, User
from audit.log import Actor
from audit.models import Entry
from dom0 import domains, execute, files, golden, hands, host, libvirtd, loading, marks, probe, trial, volumes
from dom0.steps import Hand
from firewall import render, rows
from hosts import sweep, watch, work
from hosts.kinds import kind_of
from hosts.models import Host, Job
from hosts.services import job_go_on
from machines import run_services, services
from machines.models import Image, Machine, SiteDefaults
from zones.models import ExternalAddress, Zone
from zones.services import zone_create

config = host.load()


def actor() -> Actor:
    return Actor(id=User.objects.get(username="fulup").pk, name="fulup")


def prepare(public_key: str) -> str:
    """An empty database, then an operator, zone zDominig on its bridge, and the tiny image."""
    call_command("migrate", verbosity=0)
    box = Host.objects.create(name=config.name, facts=config.facts())
    user = User.objects.create_user("fulup", role="operator")
    Owner.objects.create(name="fulup", person=user)
    SSHKey.objects.create(user=user, name="laptop", line=" ".join(public_key.split()[:2]), fingerprint="SHA256:1")
    external = ExternalAddress.objects.create(host=box, nic="eth0", address="87.98.130.56")
    job = zone_create(
        actor(), host=box, name="zDominig", gateway="10.10.2.1", prefix=24, external=external, approved=True
    )
    image = image_of("tiny.tar.gz", "tiny")
    SiteDefaults.objects.create(host=box, image=image, memory_mib=64, root_mib=128)
    ended = carried(job)["state"]
    _confirm(render.files(rows.site_of(box)).by_name)
    return ended


def _confirm(texts: Mapping[str, str]) -> None:
    """The zone's policy in force, also after a restart: dom0 boots closed, to machines of its own too."""
    name = "1-0123456789ab"
    for file, text in texts.items():
        files.write_atomic(str(loading.folder(config, name) / file), text)
    kept = loading.revision(config, name)
    loading.load(kept)
    pointer = trial.Pending(
        revision=name, token=f"{name}-j1", deadline=0, boot="", seconds=60, digest=loading.digest_of(kept)
    )
    files.write_atomic(f"{config.state}/firewall/confirmed", json.dumps(asdict(pointer)))


def image_of(archive: str, name: str, digest: str = "") -> Image:
    found = digest or hashlib.sha256(Path(config.images, archive).read_bytes()).hexdigest()
    box = Host.objects.get()
    return services.image_add(
        actor(), host=box, name=name, archive=archive, digest=found, family="tiny", min_root_mib=32
    )


def asked(name: str, address: str, **wish: Any) -> Job:
    zone = Zone.objects.get(name="zDominig")
    who = Owner.objects.get(name="fulup")
    keys = list(SSHKey.objects.all())
    return services.machine_create(
        actor(),
        host=zone.host,
        zone=zone,
        owner=who,
        name=name,
        address=address,
        ssh_keys=keys,
        approved=True,
        **wish,
    )


def machine(name: str) -> Machine:
    return Machine.objects.get(name=name)


def carried(job: Job) -> dict[str, Any]:
    """Have the worker take the job; what came of it."""
    work.run(job.pk)
    return told(job)


def told(job: Job) -> dict[str, Any]:
    job.refresh_from_db()
    steps = list(job.steps.all())
    return {
        "state": job.state,
        "message": job.message,
        "note": job.note,
        "stages": [s.stage for s in steps],
        "done": [s.shown for s in steps if s.state == "done"],
        "output": "\n".join(s.output for s in steps),
    }


def create(name: str, address: str, **wish: Any) -> dict[str, Any]:
    return carried(asked(name, address, **wish))


def delete(name: str) -> dict[str, Any]:
    return carried(services.machine_delete(actor(), machine(name), approved=True))


def killed(job: Job, stage: str, moment: str) -> int:
    """Have a worker take the job and die of SIGKILL at `stage`; the number of the signal that ended it.

    `moment`: "before" or "after" the stage's first action, or "amid": right before it would set its mark.
    """
    child = os.fork()
    if child == 0:
        django.db.connections.close_all()
        _arm(stage, moment)
        work.run(job.pk)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def _arm(stage: str, moment: str) -> None:
    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    perform = execute.perform

    def performed(step: Any, *rest: Any) -> Any:
        if step.stage != stage:
            return perform(step, *rest)
        if moment == "before":
            die()
        if moment == "amid":
            marks.put = lambda *_: die()
        outcome = perform(step, *rest)
        die()
        return outcome

    execute.perform = performed


def gone_on(job: Job) -> dict[str, Any]:
    """What the sweep and then a person's *Go on* make of a job whose worker is gone."""
    sweep.sweep(config)
    swept = told(job)
    job_go_on(actor(), Job.objects.get(pk=job.pk))
    return {"swept": swept, **carried(job)}


def answers(address: str, port: int, greeting: bytes, seconds: float = 60) -> bool:
    """Whether something greets so at that port before the time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((address, port), 0.2) as link:
                link.settimeout(1)
                if link.recv(99).startswith(greeting):
                    return True
        except OSError:
            time.sleep(0.02)
    return False


def ssh(address: str, command: str, key: str = "/root/life-key") -> str:
    argv = ("ssh", "-i", key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null")
    options = ("-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=15")
    done = subprocess.run((*argv, *options, f"root@{address}", command), capture_output=True, text=True, timeout=60)
    return done.stdout.strip() if done.returncode == 0 else f"failed: {done.stderr.strip()}"


def until(so: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def left() -> list[str]:
    """Everything on dom0 that names a machine."""
    state = Path(config.state)
    found = [str(p) for room in ("ethers", "hosts") for p in (state / room).glob("*/*")]
    found += [str(p) for p in (state / "members").glob("machine-*")]
    found += [str(p) for p in (state / "autostart").glob("*")]
    found += [str(p) for p in Path(config.volumes).glob("*")]
    found += [str(p) for p in Path(config.run, "machines").glob("*")]
    found += [str(p) for p in Path(config.golden).glob(".*")]
    found += list(domains.look_at_all(config))
    elements = subprocess.run(("nft", "list", "set", "bridge", "fridu", "members"), capture_output=True, text=True)
    return found + [word for word in elements.stdout.split('"')[1::2] if word.startswith("fr")]


def run_hand(verb: str, stdin: str = "", **args: str) -> str:
    return hands.do(Hand(verb=verb, args=tuple(args.items()), stdin=stdin), config)


if __name__ == "__main__":
    names: dict[str, Any] = {**globals(), "out": None}
    exec(compile(sys.stdin.read(), "snippet", "exec"), names)
    sys.stdout.write("\n@" + json.dumps(names["out"], default=str))
