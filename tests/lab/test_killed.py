"""Under Xen, on real volumes: the worker killed at six moments of create and of delete, and the power cut once."""

from __future__ import annotations

import pytest

from tests.lab.dom0 import Dom0
from tests.life.story import ADDRESS, OPERATOR, PUBLISHED, Story

pytestmark = pytest.mark.lab
MACHINE = "Struck"
#: At which step of each attempt the worker dies, and when in it; each attempt comes a little further.
DEATHS = (("before", 0), ("amid", 0), ("after", 1), ("before", 1), ("amid", 1), ("after", 0))
FOREIGN = "lvcreate -q -y -L 16M -n Struck-root.old vg0 && head -c 16M /dev/urandom > /dev/vg0/Struck-root.old"
ITS_SUM = "sha256sum /dev/vg0/Struck-root.old"

BEGIN = f"""
import random
from accounts.models import Owner, SSHKey, User
from audit.log import Actor
from dom0 import execute, host
from hosts import work
from hosts.models import Job
from machines import services
from machines.models import Machine
from tests.life import dying
from zones.models import Zone
config, user = host.load(), User.objects.get(username={OPERATOR!r})
actor = Actor(id=user.pk, name=user.username)

def create():
    zone = Zone.objects.get()
    return services.machine_create(actor, host=zone.host, zone=zone, owner=Owner.objects.get(person=user),
        name={MACHINE!r}, address={ADDRESS!r}, ssh_keys=list(SSHKey.objects.all()), approved=True)

def delete():
    return services.machine_delete(actor, Machine.objects.get(name={MACHINE!r}), approved=True)

def struck(job):
    for moment, step in {DEATHS}:
        died = dying.dies(job, lambda _, n: moment if n == step else "", {{}}, random.Random(1), usual_s=4)
        assert died, (moment, step, "it came to an end")
        print(died[1], died[0])
        dying.goes_on(job, actor, config)
    while job.state not in (Job.State.DONE, Job.State.NOTHING):
        work.run(job.pk)
        assert dying.approved(job, actor) or job.state in (Job.State.DONE, Job.State.NOTHING), (job.state, job.message)
"""
#: The power is cut while the archive is unpacked: nothing that was not written out is there afterwards.
CUT = """
perform = execute.perform
def performed(step, *rest):
    if step.stage == "installroot":
        import threading
        threading.Timer(1, lambda: open("/proc/sysrq-trigger", "w").write("b")).start()
    return perform(step, *rest)
execute.perform = performed
work.run(create().pk)
"""


def test_create_and_delete_come_to_their_end_though_the_worker_dies_and_the_power_goes(dom0: Dom0) -> None:
    story = Story(stage=dom0, machine=MACHINE)
    story.settle()
    dom0.run(FOREIGN)
    foreign = dom0.run(ITS_SUM)
    empty = story.traces()
    story.zone()
    story.publish()

    dom0.works(wanted=False)
    print(dom0.manage(f"{BEGIN}\nstruck(create())"))
    story.answers()
    assert story.inside("hostname") == MACHINE
    assert sorted(dom0.run("lvs --noheadings -o lv_name").split()) == ["Struck-root", "Struck-root.old"]
    story.wish("")  # nothing is published of a machine that is to go
    print(dom0.manage(f"{BEGIN}\nstruck(delete())"))
    assert dom0.run("lvs --noheadings -o lv_name").split() == ["Struck-root.old"]
    assert dom0.run("virsh -q list --all --name").split() == ["Domain-0"]

    dom0.works(wanted=True)
    story.wish(PUBLISHED)  # as the rules still have it
    boot = dom0.boot()
    dom0.cut(f"{BEGIN}{CUT}")
    dom0.comes_back(boot)
    said = dom0.manage(f"{BEGIN}\njob = Job.objects.latest('id')\nprint(job.pk, job.state, job.message)")
    number, state, message = said.strip().split(" ", 2)
    assert (state, message) == ("failed", "The worker was killed during installroot.")
    dom0.fridu("job", number, "--go-on")
    story.answers()
    assert story.inside("hostname") == MACHINE
    story.delete()
    story.nothing_is_left(empty)
    assert dom0.run(ITS_SUM) == foreign
