"""Points 5 and 6 of the main job's list: a worker killed half-way, and bad input."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.lab.list_pages import number_in
from tests.lab.list_visit import Visit
from tests.lab.list_world import IMAGES, ONE, VAR, VOLUMES, until

#: What the tiny image holds besides here, so that installroot lasts long enough to be killed.
NOISE_MIB = 48


def _image(v: Visit, name: str, least_mib: int, make: Callable[[Path], Any]) -> str:
    """An archive made known on the page of the images; its key."""
    path = IMAGES / f"{name}.tar.gz"
    make(path)
    known = {"name": name, "archive": path.name, "digest": hashlib.sha256(path.read_bytes()).hexdigest()}
    operator = v.visitor("operator")
    page = operator.send(
        operator.get("/machines/images/"), "Add image", **known, family="tiny", min_root_mib=str(least_mib)
    )
    assert f"{name} is known now" in page.text, page.text[:600]
    return str(v.world.sql("select id from machines_image where name = ?", name)[0][0])


def _heavy(path: Path) -> None:
    with tarfile.open(IMAGES / "tiny.tar.gz") as tiny, tarfile.open(path, "w:gz", compresslevel=0) as out:
        for member in tiny:
            out.addfile(member, tiny.extractfile(member) if member.isreg() else None)
        for n in range(NOISE_MIB):
            member = tarfile.TarInfo(f"./var/noise{n}")
            member.size = 1 << 20
            out.addfile(member, io.BytesIO(os.urandom(member.size)))


def a_killed_job_goes_on(v: Visit) -> None:
    """5: kill -9 of the worker in installroot; Go on ends it, no step twice, no leftover."""
    w, operator = v.world, v.visitor("operator")
    image = _image(v, "heavy", 2 * NOISE_MIB, _heavy)
    wish = {"name": "Killed", "address": "10.10.1.50", "image": image, "root_mib": str(3 * NOISE_MIB)}
    page = operator.send(operator.get("/machines/new/"), "Create machine", **wish)
    job = number_in(page.url)
    assert w.job_in(job, "planned", "refused"), w.job_said(job)
    operator.send(operator.get(page.url), "Approve and create Killed")
    steps = "select stage, state, shown from hosts_jobstep where job_id = ? order by number"

    def installs() -> bool:
        return any((stage, state) == ("installroot", "now") for stage, state, _ in w.sql(steps, job))

    worker = w.pid("worker-work")
    assert until(installs, every=0.02), w.sql(steps, job)
    os.kill(worker, signal.SIGSTOP)
    assert installs(), "installroot was over before the worker could be stopped"
    os.kill(worker, signal.SIGKILL)
    assert w.job_in(job, "failed"), w.job_said(job)
    assert "killed" in w.job_said(job)
    first = {shown for _, state, shown in w.sql(steps, job) if state == "done" and shown}
    assert until(lambda: w.pid("worker-work") not in (0, worker))
    operator.send(operator.get(page.url), "Go on")
    assert w.job_in(job, "done", "planned", "failed", "refused"), w.job_said(job)
    if w.job_said(job).startswith("[('planned'"):
        operator.send(operator.get(page.url), "Approve")
    v.ends(job, "done")
    done = [shown for _, state, shown in w.sql(steps, job) if state == "done" and shown]
    assert len(done) == len(set(done)), "a step was done twice"
    assert first <= set(done)
    machines = [name for (name,) in w.sql("select name from machines_machine")]
    assert sorted(p.name for p in VOLUMES.iterdir()) == sorted(f"{name}-root.img" for name in machines)
    assert {p.suffix for p in (VAR / "lib" / "golden").iterdir()} <= {".ext4", ".json"}
    assert until(lambda: w.greeting("10.10.1.50", 2525, "vpn").startswith("220 Killed"))
    code, said = w.fridu("operator", "delete", "Killed", "--yes")
    assert code == 0, said


def bad_input_gets_a_sentence(v: Visit) -> None:
    """6: beside the field or on the job, what to do; nothing is created."""
    w, operator = v.world, v.visitor("operator")

    def seen() -> tuple[object, ...]:
        counts = [w.sql(f"select count(*) from {table}") for table in ("machines_machine", "firewall_publishedservice")]
        return counts, sorted(p.name for p in VOLUMES.iterdir())

    before, form = seen(), operator.get("/machines/new/")
    for name, address, says in (
        ("it's", "10.10.1.60", "letters"),
        ("two\nlines", "10.10.1.60", "letters"),
        ("x" * 300, "10.10.1.60", "this one has 300"),
        ("Fine", "10.99.1.60", "lies in no zone"),
        ("Fine", "10.10.1.1", "gateway"),
        ("Fine", "10.10.1.2", "Common"),
        ("WEB-Dom", "10.10.1.60", "WEB-Dom"),
    ):
        page = operator.send(form, "Create machine", name=name, address=address)
        assert (page.status, says in page.text) == (422, True), (name[:20], address, page.status, page.text[:900])
    page = operator.send(form, "Create machine", name="Small", address="10.10.1.61", root_mib="17")
    assert (page.status, "32" in page.text) == (422, True), (page.status, page.text[:900])
    publish = operator.get("/firewall/services/publish/")
    address = next(
        value for words, value in publish.form(button="Publish").options["external"].items() if words.startswith(ONE)
    )
    wish = {"name": "Twice", "external": address, "port": "80", "target": "WEB-Ful", "target_port": "8080"}
    page = operator.send(publish, "Publish", **wish)
    assert (page.status, "FulupWEB" in page.text) == (422, True), (page.status, page.text[:900])
    code, said = w.fridu("operator", "create", "vmname=../../etc", "vmip=10.10.1.60", "--yes")
    assert (code != 0, "letters" in said, "Traceback" in said) == (True, True, False), said
    _refused_by_the_host(v)
    assert seen() == before


def _refused_by_the_host(v: Visit) -> None:
    """A volume of that name that isn't ours; an archive cut off."""
    w = v.world
    foreign = VOLUMES / "Foreign-root.img"
    foreign.write_bytes(b"somebody else's")
    code, said = w.fridu("operator", "create", "vmname=Foreign", "vmip=10.10.1.62", "--yes")
    assert (code != 0, "Foreign-root" in said, "Traceback" in said) == (True, True, False), said
    assert w.fridu("operator", "delete", "Foreign", "--yes")[0] == 0
    assert foreign.read_bytes() == b"somebody else's"
    foreign.unlink()
    _image(v, "broken", 32, lambda path: path.write_bytes((IMAGES / "tiny.tar.gz").read_bytes()[:100_000]))
    code, said = w.fridu("operator", "create", "vmname=Broken", "vmip=10.10.1.63", "image=broken", "--yes")
    assert (code != 0, "broken.tar.gz" in said, "Traceback" in said) == (True, True, False), said
    assert w.fridu("operator", "delete", "Broken", "--yes")[0] == 0
