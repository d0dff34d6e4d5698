# ruff: noqa: E402 - models can be imported once Django is set up
"""Runs inside the bench's dom0: rounds of the watcher over real machines and over libvirt's test driver; JSON.

`python -m bench.swept LXC TEST ROUNDS`. The demo's own watcher has to be stopped before; its database is used.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fridu_site.settings")

import django

django.setup()

import libvirt
from django.utils import timezone

from accounts.models import Owner, User
from audit.log import Actor
from bench.created import until
from dom0 import host
from hosts import watch
from hosts.models import Host
from machines import services
from machines.models import Figures, Image, Machine
from zones.models import Zone

CONFIG = host.load()
TICKS = os.sysconf("SC_CLK_TCK")


def libvirtd() -> int:
    return int(subprocess.run(("pidof", "libvirtd"), capture_output=True, text=True, check=True).stdout.split()[0])


def spent(pid: int) -> float:
    """Seconds of CPU a process has used."""
    words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / TICKS


def rounds(config: host.HostConfig, count: int, before: Callable[[], None]) -> dict[str, Any]:
    """Seconds of CPU a round takes, here and in libvirtd, each after `before`; the clock's are their walls."""
    watch.look(config)
    pid, ours, walls = libvirtd(), [], []
    theirs = spent(pid)
    for _ in range(count):
        before()
        began, clock = time.process_time(), time.perf_counter()
        watch.look(config)
        ours.append(time.process_time() - began)
        walls.append(time.perf_counter() - clock)
    each = (spent(pid) - theirs) / count
    return {"ours": statistics.median(ours), "worst": max(ours), "libvirtd": each, "wall": statistics.median(walls)}


def due(name: str) -> Callable[[], None]:
    """So that the next round books what machines used, and with it one of the day."""

    def again() -> None:
        box = Host.objects.get(name=name)
        box.figures["machines"]["at"] = 1
        box.save()

    return again


def lxc(number: int, count: int) -> dict[str, Any]:
    """With `number` real machines."""
    user = User.objects.filter(role="operator").order_by("pk")[0]
    actor = Actor(id=user.pk, name=user.get_username())
    zone, image = Zone.objects.order_by("number")[0], Image.objects.get(name="tiny")
    wanted = number - Machine.objects.filter(observed="running").count()
    for n, address in enumerate(services.free_addresses(zone, max(0, wanted))):
        job = services.machine_create(
            actor, host=zone.host, zone=zone, owner=Owner.objects.order_by("pk")[0], name=f"Sweep{n}",
            address=address, image=image, memory_mib=32, root_mib=64, approved=True,
        )  # fmt: skip
        until(job, "done")
    return measured(CONFIG, count)


def measured(config: host.HostConfig, count: int) -> dict[str, Any]:
    watch.look(config)
    running = Machine.objects.filter(host__name=config.name, observed="running").count()
    plain = rounds(config, count, lambda: None)
    booking = rounds(config, count, due(config.name))
    figured = Figures.objects.filter(machine__host__name=config.name).exclude(now={}).count()
    return {"running": running, "figured": figured, "round": plain, "booking": booking}


def test_driver(number: int, count: int) -> dict[str, Any]:
    """With `number` domains of libvirt's test driver, asked through the same daemon; rows with an hour and a day."""
    config = replace(CONFIG, name="swept", libvirt="test+unix:///default", volume_groups=())
    link = libvirt.open(config.libvirt)  # as long as it is open the driver knows them
    like = Machine.objects.select_related("zone").first()
    box = Host.objects.create(name=config.name)
    zone = Zone.objects.filter(host=like.host).first()
    zone.pk, zone.host = None, box
    zone.save()
    image = Image.objects.create(host=box, name="tiny", archive="tiny.tar.gz", family="tiny")
    at = int(time.time())
    rows = []
    for n in range(number):
        made = link.createXML(
            f"<domain type='test'><name>swept{n}</name><memory>65536</memory><os><type>hvm</type></os></domain>", 0
        )
        rows.append(
            Machine(
                host=box, zone=zone, owner=like.owner, name=f"swept{n}", address=f"10.77.{n // 250}.{n % 250 + 1}",
                mac=f"aa:bb:cc:dd:{n // 250:02x}:{n % 250:02x}", vif=f"frs{n}", uid_base=65_536 * (9000 + n),
                memory_mib=64, root_mib=64, image=image, uuid=made.UUIDString(), built_at=timezone.now(),
            )
        )  # fmt: skip
    rows = Machine.objects.bulk_create(rows)
    line = [0, 250, 40, 120_000, 30_000, 4000, 900_000]
    Figures.objects.bulk_create(
        Figures(
            machine=row, at=timezone.now(), hour=[[at - 30 * n, *line[1:]] for n in range(119, -1, -1)],
            day=[[at - 600 * n, *line[1:]] for n in range(143, -1, -1)], now={"sample": line, "day_at": 1},
            counters={"run": 1, "cpu_ns": 1, "memory_kib": 1},
        )
        for row in rows
    )  # fmt: skip
    return measured(config, count)


if __name__ == "__main__":
    real, tested, turns = (int(word) for word in sys.argv[1:4])
    found = {"lxc": lxc(real, turns)}
    found["test"] = test_driver(tested, turns)
    sys.stdout.write(json.dumps(found))
