"""Point 5: a job killed half-way is completed by *Go on*, without a leftover, without a step done twice."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import signal
import tarfile
from pathlib import Path

import pytest

from tests.demo.conftest import NAME, ROOT, Demo, until

pytestmark = pytest.mark.demo
IMAGES = ROOT / "var" / NAME / "lib" / "images"

ASK = """
from accounts.models import Owner, User
from audit.log import Actor
from machines.models import Image
from machines.services import machine_create
from zones.models import Zone
u = User.objects.get(username={user!r})
z = Zone.objects.get(name="zFulup")
out = machine_create(Actor(id=u.pk, name=u.username), host=z.host, zone=z, owner=Owner.objects.get(name="fulup"),
    name={name!r}, address={address!r}, image=Image.objects.get(name={image!r}), root_mib={root}, approved=True).pk
"""
ADD = """
from accounts.models import User
from audit.log import Actor
from hosts.models import Host
from machines.services import image_add
u = User.objects.get(username={user!r})
out = image_add(Actor(id=u.pk, name=u.username), host=Host.objects.get(), name="heavy", archive="heavy.tar.gz",
    digest={digest!r}, family="tiny", min_root_mib=1200).pk
"""


@pytest.fixture(scope="module")
def heavy(demo: Demo) -> str:
    """The tiny image with 880 MB of noise in it, so that installroot lasts long enough to be killed."""
    path = IMAGES / "heavy.tar.gz"
    noise = os.urandom(4 << 20)
    with tarfile.open(IMAGES / "tiny.tar.gz") as tiny, tarfile.open(path, "w:gz", compresslevel=0) as out:
        for member in tiny:
            out.addfile(member, tiny.extractfile(member) if member.isreg() else None)
        for n in range(220):
            member = tarfile.TarInfo(f"./var/noise{n}")
            member.size = len(noise)
            out.addfile(member, io.BytesIO(bytes([n]) + noise[1:]))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    demo.python(ADD.format(user=demo.state["logins"]["operator"]["user"], digest=digest))
    return "heavy"


def ask(demo: Demo, name: str, address: str, image: str, root: int = 1500) -> int:
    user = demo.state["logins"]["operator"]["user"]
    return int(demo.python(ASK.format(user=user, name=name, address=address, image=image, root=root)))


def go_on(demo: Demo, job: int) -> None:
    demo.python(
        "from hosts.models import Job; from hosts.services import job_go_on; from audit.log import Actor\n"
        f"j=Job.objects.get(pk={job}); job_go_on(Actor(id=j.actor_id, name=j.actor.username), j); out=1"
    )


def steps(demo: Demo, job: int) -> list[tuple[str, str, str]]:
    return demo.sql("select stage, state, shown from hosts_jobstep where job_id = ? order by number", job)


def in_installroot(demo: Demo, job: int) -> bool:
    return any(stage == "installroot" and state == "now" for stage, state, _ in steps(demo, job))


def test_a_worker_killed_during_installroot_leaves_a_job_that_goes_on(demo: Demo, heavy: str):
    job = ask(demo, "Killed", "10.10.1.50", heavy)
    worker = demo.pid("worker-work")
    assert until(lambda: in_installroot(demo, job), every=0.005), steps(demo, job)
    os.kill(worker, signal.SIGSTOP)
    assert in_installroot(demo, job), "the copy was over before the worker could be stopped"
    os.kill(worker, signal.SIGKILL)
    assert until(lambda: demo.job_state(job) == "failed"), steps(demo, job)
    message = demo.sql("select message from hosts_job where id = ?", job)[0][0]
    assert "killed" in message
    assert "installroot" in message
    first = {shown for _, state, shown in steps(demo, job) if state == "done"}
    assert until(lambda: demo.pid("worker-work") not in (0, worker))
    go_on(demo, job)
    assert demo.ended(job) == "done", demo.sql("select message, note from hosts_job where id = ?", job)
    done = [shown for _, state, shown in steps(demo, job) if state == "done" and shown]
    assert len(done) == len(set(done)), "a step was done twice"
    assert first <= set(done)
    volumes = sorted(p.name for p in (ROOT / "var" / NAME / "lib" / "volumes").iterdir())
    machines = [name for (name,) in demo.sql("select name from machines_machine")]
    assert volumes == sorted(f"{name}-root.img" for name in machines), "a leftover"
    assert not [p for p in (ROOT / "var" / NAME / "lib" / "golden").iterdir() if p.suffix not in (".ext4", ".json")]
    assert until(lambda: demo.greeting("10.10.1.50", 2525, "vpn").startswith("220 Killed"))


def test_a_broker_that_was_away_loses_no_job(demo: Demo):
    redis = demo.pid("redis")
    os.kill(redis, signal.SIGSTOP)
    try:
        job = ask(demo, "Patient", "10.10.1.51", "tiny", 64)
        assert demo.job_state(job) == "planning"
    finally:
        restarted(demo)
    assert demo.ended(job) == "done"
    assert until(lambda: demo.greeting("10.10.1.51", 2525, "vpn").startswith("220 Patient"))


def test_a_broker_that_hangs_while_a_job_ends_leaves_no_worker_deaf(demo: Demo, heavy: str):
    """Once the worker has had to connect anew, a job's end that the broker never hears of must not deafen it."""
    worker = demo.pid("worker-work")
    restarted(demo)
    assert demo.ended(ask(demo, "Hears", "10.10.1.52", "tiny", 64)) == "done"
    log = Path(f"/proc/{demo.pid('keeper')}/root/var/log/fridu/worker-work.log")
    refused = log.read_text().count("Couldn't ack")
    job = ask(demo, "Heard", "10.10.1.53", heavy)
    assert until(lambda: in_installroot(demo, job), every=0.005), steps(demo, job)
    os.kill(demo.pid("redis"), signal.SIGSTOP)
    try:
        assert demo.ended(job) == "done"
        assert until(lambda: log.read_text().count("Couldn't ack") > refused)
    finally:
        restarted(demo)
    assert demo.ended(ask(demo, "Listens", "10.10.1.54", "tiny", 64)) == "done"
    assert demo.pid("worker-work") == worker, "it was not the same worker"


def restarted(demo: Demo) -> None:
    """The broker, and all it knew is gone."""
    redis = demo.pid("redis")
    os.kill(redis, signal.SIGKILL)
    assert until(lambda: demo.pid("redis") not in (0, redis))


def test_a_worker_that_takes_no_job_is_ended_and_the_new_one_takes_it(demo: Demo):
    """Stopped, it lives and says nothing, as a Celery worker that lost its broker without noticing."""
    deaf = demo.pid("worker-power")
    os.kill(deaf, signal.SIGSTOP)
    try:
        assert demo.fridu("stop", "Patient", "--yes").returncode == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(deaf, signal.SIGCONT)
    assert demo.pid("worker-power") not in (0, deaf)


@pytest.mark.parametrize("name", ["Killed", "Patient", "Heard", "Hears", "Listens"])
def test_what_was_made_can_be_deleted_and_leaves_nothing(demo: Demo, name: str):
    done = demo.fridu("delete", name, "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (ROOT / "var" / NAME / "lib" / "volumes" / f"{name}-root.img").exists()
    assert not demo.sql("select id from machines_machine where name = ?", name)
