# ruff: noqa: E402 - models can be imported once Django is set up
"""Runs inside the bench's dom0: asks for machines, approves, watches them answer, deletes them; JSON on stdout."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import struct
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fridu_site.settings")

import django

django.setup()

from accounts.models import Owner, User
from audit.log import Actor
from bench.bench_provision import DISK, by_seed
from dom0 import host, probe
from hosts.kinds import kind_of
from hosts.models import Host, Job
from hosts.services import job_approve
from machines import services
from machines.models import Image, Machine
from zones.models import Zone

CONFIG = host.load()
PATIENCE_S = 60.0


def actor() -> Actor:
    user = User.objects.filter(role="operator").order_by("pk")[0]
    return Actor(id=user.pk, name=user.get_username())


def until(job: Job, *states: str) -> Job:
    """The job once it is in one of `states`; ends the bench where it ends otherwise."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        job.refresh_from_db()
        if job.state in states:
            return job
        if time.monotonic() > deadline or job.state in ("failed", "refused", "drifted"):
            sys.exit(f"job {job.pk} is {job.state}: {job.message} {job.note}")
        time.sleep(0.005)


def ping(address: str, found: dict[str, float]) -> None:
    """When the first echo comes back."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as link:
        link.settimeout(0.005)
        head = struct.pack("!BBHHH", 8, 0, 0, 0xF81D, 1)
        words = struct.unpack("!4H", head)
        total = sum(words)
        packet = struct.pack("!BBHHH", 8, 0, ~(total + (total >> 16)) & 0xFFFF, 0xF81D, 1)
        deadline = time.time() + PATIENCE_S
        while time.time() < deadline:
            try:
                link.sendto(packet, (address, 0))
                answer, (sender, _) = link.recvfrom(100)
                if sender == address and answer[20] == 0:
                    found["ping"] = time.time()
                    return
            except OSError:
                time.sleep(0.002)


def ssh(address: str, found: dict[str, float]) -> None:
    """When SSH says its first words."""
    deadline = time.time() + PATIENCE_S
    while time.time() < deadline:
        try:
            with socket.create_connection((address, 22), 0.05) as link:
                link.settimeout(2)
                if link.recv(9).startswith(b"SSH"):
                    found["ssh"] = time.time()
                    return
        except OSError:
            time.sleep(0.002)


def planning(job: Job) -> dict[str, float]:
    """Seconds that looking and planning take, in this process."""
    kind = kind_of(job.kind)
    began = time.perf_counter()
    state = probe.probe(CONFIG, kind.scope(job, CONFIG))
    looked = time.perf_counter()
    kind.plan(job, state, CONFIG)
    return {"probe": looked - began, "plan": time.perf_counter() - looked}


def image_of(archive: str) -> Image:
    """The image of an archive in the images folder; "tiny" is the demo's own."""
    if archive == "tiny":
        return Image.objects.get(name="tiny")
    digest = hashlib.sha256(Path(CONFIG.images, archive).read_bytes()).hexdigest()
    box = Host.objects.get()
    wish = {"archive": archive, "digest": digest, "family": "debian", "min_root_mib": 512}
    return services.image_add(actor(), host=box, name="bench", **wish)


def by_the_seed(image: Image, root_mib: int) -> float:
    """Seconds of the seed's disk steps with the same archive, on the same disk."""
    with tempfile.TemporaryDirectory(dir=Path(CONFIG.volumes).parent) as folder:
        os.sync()
        return by_seed(Path(folder), Path(CONFIG.images, image.archive), root_mib)


def one(number: int, image: Image, root_mib: int, memory_mib: int) -> dict[str, Any]:
    zone = Zone.objects.order_by("number")[0]
    address = services.free_addresses(zone, 1)[0]
    job = services.machine_create(
        actor(),
        host=zone.host,
        zone=zone,
        owner=Owner.objects.order_by("pk")[0],
        name=f"Bench{number}",
        address=address,
        image=image,
        root_mib=root_mib,
        memory_mib=memory_mib,
    )
    until(job, "planned")
    parts = planning(job)
    found: dict[str, float] = {}
    watchers = [threading.Thread(target=watch, args=(address, found)) for watch in (ping, ssh)]
    for watcher in watchers:
        watcher.start()
    job_approve(actor(), job, job.digest)
    until(job, "done")
    for watcher in watchers:
        watcher.join()
    result = {**parts, **figures(job, found)}
    if image.name != "tiny":
        # The seed's way to the same start: its disk steps, and all else as it was just now.
        rest = result["started_ssh"] - sum(result.get(f"stage {stage}", 0.0) for stage in DISK)
        result["seed_ssh"] = by_the_seed(image, root_mib) + rest
    machine = Machine.objects.get(pk=job.target_id)
    until(services.machine_delete(actor(), machine, approved=True), "done")
    return result


def figures(job: Job, found: dict[str, float]) -> dict[str, float]:
    if not (job.approved_at and job.claimed_at and job.first_step_at and job.ended):
        sys.exit(f"job {job.pk} lacks its times")
    approved, claimed = job.approved_at.timestamp(), job.claimed_at.timestamp()
    stages: dict[str, float] = {}
    for step in job.steps.filter(state="done"):
        stages[f"stage {step.stage}"] = stages.get(f"stage {step.stage}", 0.0) + (step.took_s or 0.0)
    return {
        "queue": claimed - approved,
        "approved_first_step": job.first_step_at.timestamp() - approved,
        "started_ping": found["ping"] - claimed,
        "started_ssh": found["ssh"] - claimed,
        "approved_ssh": found["ssh"] - approved,
        "started_done": job.ended.timestamp() - claimed,
        **stages,
    }


if __name__ == "__main__":
    rounds, root, memory = map(int, sys.argv[1:4])
    chosen = image_of(sys.argv[4])
    one(0, chosen, root, memory)  # warms up
    sys.stdout.write(json.dumps([one(number, chosen, root, memory) for number in range(1, rounds + 1)]))
