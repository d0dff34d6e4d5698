"""`fridu create`: by name and address only, or with all the seed took."""

from __future__ import annotations

import pytest

from accounts.models import Owner, SSHKey
from audit.models import Entry
from hosts.models import Job
from machines.models import Machine

pytestmark = pytest.mark.django_db


def test_create_needs_a_name_and_an_address_only(run, zones, image, fulup):
    SSHKey.objects.create(user=fulup, name="laptop", line="ssh-ed25519 AAAA", fingerprint="SHA256:x")
    code, said = run("create vmname=xen-test vmip=10.10.1.4 verbose=1 --yes")
    assert code == 0, said
    machine = Machine.objects.get()
    assert (machine.name, machine.address, machine.zone.name) == ("xen-test", "10.10.1.4", "zFulup")
    assert (machine.memory_mib, machine.root_mib, machine.image.name) == (64, 128, "tiny")
    assert machine.owner.name == "fulup"
    assert [key.name for key in machine.ssh_keys.all()] == ["laptop"]
    assert ".. Image The golden image is there, already so" in said
    assert ".. InstallRoot Put the image on xen-test" in said
    assert f"--\nxen-test is ready: 10.10.1.4. Job {Job.objects.get().pk}," in said


def test_without_verbose_only_the_end_is_said(run, zones, image):
    code, said = run("create vmname=xen-test vmip=10.10.1.4 --yes")
    assert code == 0
    assert "InstallRoot" not in said
    assert said.startswith("--\n")


def test_create_takes_what_the_seed_took_and_an_owner(run, zones, image):
    Owner.objects.create(name="Chorale")
    line = "create vmname=Choir vmip=10.10.2.9 vmram=96 vmroot=1G vcpus=2 owner=Chorale image=tiny zone=zDominig --yes"
    code, said = run(line)
    assert code == 0, said
    machine = Machine.objects.get()
    assert (machine.memory_mib, machine.root_mib, machine.vcpus) == (96, 1024, 2)
    assert machine.owner.name == "Chorale"


def test_the_older_words_for_where_a_kernel_comes_from(run, zones, image):
    line = "create vmname=web vmip=10.10.1.4 --yes"
    code, said = run(f"{line} bootfrom=dom0-dir xenkerneldir=/root/boot")
    assert (code, "name it: kernel=FILE" in said) == (2, True), said
    code, said = run(f"{line} bootfrom=tape")
    assert (code, "boot=tape is none of host, image, grub" in said) == (2, True), said
    code, said = run(f"{line} bootfrom=dom0-dir")
    assert code == 0, said
    assert Machine.objects.get().boot == "host"


def test_the_plan_is_shown_and_asked_about(run, zones, image):
    code, said = run("create vmname=xen-test vmip=10.10.1.4", answer="y")
    assert code == 0
    assert "2. InstallRoot Put the image on xen-test\n       cp golden volume" in said
    job = Job.objects.get()
    assert job.approved_digest == "d"
    assert Entry.objects.filter(action="job.approve", actor_name="fulup").exists()


def test_no_is_no_and_nothing_was_done(run, zones, image):
    code, said = run("create vmname=xen-test vmip=10.10.1.4", answer="")
    assert code == 1
    assert "is cancelled; nothing was done" in said
    assert Job.objects.get().state == Job.State.CANCELLED


def test_where_nobody_can_be_asked_the_job_waits_and_the_way_is_named(run, zones, image):
    code, said = run("create vmname=xen-test vmip=10.10.1.4")
    assert code == 1
    assert "waits for approval: fridu job" in said
    job = Job.objects.get()
    code, said = run(f"job {job.pk} --yes")
    assert code == 0
    assert "xen-test is ready" in said


def test_a_create_that_waits_names_the_way_out_wherever_one_runs_into_it(run, zones, image):
    _, said = run("create vmname=xen-test vmip=10.10.1.4")
    number = Job.objects.get().pk
    way = f"Job {number} waits for approval: fridu job {number} --yes, or fridu job {number} --cancel."
    assert said.endswith(way + "\n")
    for line in ("start xen-test", "stop xen-test", "delete xen-test", f"job {number} --go-on"):
        code, said = run(line)
        assert (code, said.splitlines()[1:]) == (1, [f"Note: {way}"]), line
    code, said = run(f"job {number} --cancel")
    assert (code, said) == (0, f"Job {number} (Create xen-test in zFulup) is cancelled; nothing was done.\n")
    assert not Machine.objects.exists()
    assert Entry.objects.filter(action="job.cancel", actor_name="fulup").exists()


def test_a_create_that_stopped_names_the_way_on(run, zones, image, worker):
    worker.end = Job.State.FAILED
    run("create vmname=xen-test vmip=10.10.1.4 --yes")
    number = Job.objects.get().pk
    _, said = run("start xen-test")
    assert f"Note: Job {number} has stopped: fridu job {number} tells why, fridu job {number} --go-on does" in said
    assert "Or delete the machine: fridu delete xen-test" in said
