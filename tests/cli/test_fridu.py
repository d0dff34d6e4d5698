"""The command line: the seed's verbs, who acts, plans and questions, stages, exit codes."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from django.core.management import call_command
from django.utils import timezone

from accounts.models import Owner, SSHKey
from audit.models import Entry
from fridu_site.cli import follow, main, who
from fridu_site.cli.call import Misunderstood, parse
from hosts.models import Job, JobStep
from machines.models import Machine

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.django_db


class Worker:
    """Stands in for dom0's worker: does one thing at every tick of the follower's clock."""

    def __init__(self) -> None:
        self.end = Job.State.DONE
        self.message = ""
        self.note = ""

    def tick(self, _: float) -> None:
        job = Job.objects.filter(state__in=Job.WORKING).first()
        assert job is not None, "nobody would ever finish this job"
        if job.state == Job.State.PLANNING:
            self._plan(job)
        else:
            self._finish(job)

    def _plan(self, job: Job) -> None:
        JobStep.objects.create(job=job, number=1, stage="image", title="The golden image is there", state="already")
        JobStep.objects.create(
            job=job, number=2, stage="installroot", title=f"Put the image on {job.target_text}", about_s=1,
            shown="cp golden volume", destroys="whatever the volume holds" if job.kind == "machine.delete" else "",
        )  # fmt: skip
        free = job.approver_id is not None or job.kind in ("machine.start", "machine.stop", "machine.reboot")
        state = Job.State.RUNNING if free else Job.State.PLANNED
        Job.objects.filter(pk=job.pk).update(state=state, digest="d")

    def _finish(self, job: Job) -> None:
        now = timezone.now()
        good = self.end in (Job.State.DONE, Job.State.NOTHING)
        job.steps.filter(number=2).update(state="done" if good else "failed", started=now, ended=now)
        Job.objects.filter(pk=job.pk).update(
            state=self.end, ended=now, first_step_at=now, message=self.message, note=self.note
        )


@pytest.fixture
def worker(monkeypatch):
    made = Worker()
    monkeypatch.setattr(follow.time, "sleep", made.tick)
    return made


@pytest.fixture
def run(monkeypatch, fulup, worker):
    """`run("start WEB-Dom")` as the login fulup; returns exit code and everything that was printed."""
    monkeypatch.setattr(main, "login", lambda: "fulup")

    def go(line: str, answer: str | None = None) -> tuple[int, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        if answer is not None:
            monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
            monkeypatch.setattr("builtins.input", lambda question: answer)
        out = io.StringIO()
        code = main.main(line.split(), out=out, err=out)
        return code, out.getvalue()

    return go


# --- create -----------------------------------------------------------------------------------------------------------


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


MISTAKES = {
    "create vmname=a": (2, "create needs vmip, for example: fridu create vmname=xen-test vmip=10.10.1.4"),
    "create vmname=a vmip=10.10.1.4 vmcolour=red": (2, "create knows no vmcolour. It takes vmname, vmip"),
    "create vmname=a vmip=10.10.1.4 vmram=much": (2, "vmram=much is no size"),
    "create vmname=a vmip=nowhere": (2, "vmip=nowhere is no address"),
    "create vmname=a vmip=10.99.1.4": (1, "No zone holds 10.99.1.4.\nNote: The zones are zFulup (10.10.1.0/24)"),
    "create vmname=a vmip=10.10.1.4 zone=zNo": (1, "There is no zone called zNo"),
    "create vmname=a vmip=10.10.1.4 owner=No": (1, "There is no owner called No"),
    "create vmname=a vmip=10.10.1.4 image=No": (1, "ns3100421 has no image called No.\nNote: It has tiny."),
    "create vmname=a vmip=10.10.1.4 keys=No": (1, "fulup has no such key"),
    "create vmname=a'b vmip=10.10.1.4": (1, "vmname: Use 1 to 31 letters"),
    "create vmname=a vmip=10.10.1.1": (1, "FATAL vmip: "),
    "create vmname=a vmip=10.10.2.2": (1, "FATAL vmip: "),
    "destroy everything": (2, "fridu does not know destroy. It knows create, start"),
    "start": (2, "start needs a machine's name"),
    "start Mail": (1, "There is no machine called Mail."),
    "start WEB-Dom vmip=1": (2, "start takes no vmip="),
    "start WEB-Dom --colour": (2, "Unrecognized arguments: --colour"),
    "start WEB-Dom --cancel": (2, "start takes no --cancel; a job does: fridu job NUMBER --cancel"),
    "stop WEB-Dom --go-on": (2, "stop takes no --go-on"),
    "job 1 --cancel --yes": (2, "--cancel calls a job off; it goes with neither --yes nor --go-on."),
    "job x": (2, "job=x is no number"),
    "job 99": (1, "There is no job 99."),
    "firewall open": (2, "firewall does not know open"),
    "import /no/such/file": (1, "There is no file /no/such/file."),
    "import /etc/hosts/no": (1, "There is no file /etc/hosts/no."),
    "import /": (1, "/ is a folder."),
    "import /bin/true": (1, "/bin/true is no plain text."),
    "import /proc/self/mem": (1, "/proc/self/mem can't be read: input/output error."),
    "start WEB-Dom --as nobody": (1, "The panel has no active user called nobody"),
    "jobs --host nowhere --as": (2, "expected one argument"),
}


@pytest.mark.parametrize(("line", "because"), MISTAKES.items())
def test_a_mistake_gets_fatal_a_note_and_its_exit_code(run, web_dom, line, because):
    machines = Machine.objects.count()
    code, said = run(line)
    assert because[1] in said
    assert said.startswith("FATAL ")
    assert code == because[0]
    assert Machine.objects.count() == machines
    assert not Job.objects.exists()


def test_help_lists_every_verb(run):
    code, said = run("help")
    assert code == 0
    for verb in (
        "create vmname=",
        "start|stop|reboot|delete",
        "import FILE",
        "job NUMBER --yes",
        "job NUMBER --cancel",
        "job NUMBER --go-on",
        "firewall dump",
        "createoperator",
        "audit",
    ):
        assert verb in said


def test_options_may_stand_anywhere_and_values_may_hold_anything():
    typed = parse(["--yes", "create", "vmname=a", "--reason", "for the choir", "vmip=10.10.1.4", "owner=x=y"])
    assert (typed.verb, typed.yes, typed.reason) == ("create", True, "for the choir")
    assert typed.pairs == {"vmname": "a", "vmip": "10.10.1.4", "owner": "x=y"}
    with pytest.raises(Misunderstood):
        parse(["--no-such"])


# --- power, delete, jobs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["start", "stop", "reboot"])
def test_power_needs_no_question(run, web_dom, verb):
    code, said = run(f"{verb} WEB-Dom --reason disk")
    assert code == 0
    assert "WEB-Dom: done. Job" in said
    job = Job.objects.get()
    assert (job.kind, job.reason, job.actor.username) == (f"machine.{verb}", "disk", "fulup")


def test_delete_shows_what_it_destroys(run, web_dom):
    code, said = run("delete WEB-Dom", answer="n")
    assert code == 1
    assert "DESTROYS whatever the volume holds" in said


def test_what_is_so_already_is_a_good_end(run, web_dom, worker):
    worker.end = Job.State.NOTHING
    code, said = run("start WEB-Dom")
    assert code == 0
    assert "Start WEB-Dom: already so, nothing was done." in said


@pytest.mark.parametrize("state", [Job.State.FAILED, Job.State.REFUSED, Job.State.DRIFTED])
def test_a_job_that_did_not_end_well_is_fatal_with_its_own_words(run, web_dom, worker, state):
    worker.end, worker.message, worker.note = state, "The archive ends early.", "Add the image again."
    code, said = run("start WEB-Dom --verbose")
    assert code == 1
    assert "FATAL at installroot: The archive ends early. (job " in said
    assert "Note: Add the image again." in said
    assert "InstallRoot Put the image on WEB-Dom: FAILED" in said
    assert not Entry.objects.filter(outcome="refused").exists(), "the worker writes that, once"


def test_a_second_job_on_the_same_machine_is_refused_and_logged(run, web_dom, fulup):
    Job.objects.create(
        kind="machine.stop", host=web_dom.host, title="Stop WEB-Dom", target_kind="machine", target_id=web_dom.pk,
        target_text="WEB-Dom", actor=fulup,
    )  # fmt: skip
    code, said = run("start WEB-Dom")
    assert code == 1
    assert "(Stop WEB-Dom) is still open" in said
    entry = Entry.objects.get(outcome="refused")
    assert (entry.action, entry.actor_name, entry.object_text) == ("machine.start", "fulup", "WEB-Dom")


def test_jobs_lists_them_and_job_tells_one(run, web_dom):
    run("stop WEB-Dom")
    code, said = run("jobs")
    assert code == 0
    assert "Stop WEB-Dom  (fulup," in said
    code, said = run(f"job {Job.objects.get().pk} -v")
    assert code == 0
    assert "cp golden volume" in said
    assert "Stop WEB-Dom: done." in said


def test_a_job_that_stopped_goes_on(run, web_dom, worker):
    worker.end = Job.State.FAILED
    run("start WEB-Dom")
    worker.end = Job.State.DONE
    JobStep.objects.all().delete()
    code, said = run(f"job {Job.objects.get().pk} --go-on")
    assert code == 0, said


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


def test_a_firewall_job_that_waits_names_the_way_out(run, bare_host, rules):
    run(f"import {rules} --yes")
    run("firewall apply")
    job = Job.objects.get(kind="firewall.apply")
    code, said = run("firewall apply")
    assert code == 1
    assert f"Note: Job {job.pk} waits for approval: fridu job {job.pk} --yes" in said


def test_a_job_that_ended_is_not_cancelled(run, web_dom):
    run("start WEB-Dom")
    code, said = run(f"job {Job.objects.get().pk} --cancel")
    assert code == 1
    assert "can't be cancelled any more" in said


def test_an_owner_cancels_no_operators_job(run, web_dom, monkeypatch, dominig):
    run("delete WEB-Dom")
    job = Job.objects.get()
    monkeypatch.setattr(main, "login", lambda: "dominig")
    code, said = run(f"job {job.pk} --cancel")
    assert code == 1
    assert f"Only an operator, or who asked for it, cancels job {job.pk}." in said
    job.refresh_from_db()
    assert job.state == Job.State.PLANNED


def test_interrupting_leaves_the_job_alone_and_says_how_to_look(run, web_dom, monkeypatch):
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(follow.time, "sleep", interrupt)
    code, said = run("start WEB-Dom")
    assert code == 1
    assert "is on its own now" in said
    assert Job.objects.get().is_open


def test_a_worker_that_does_not_answer_is_named(run, web_dom):
    web_dom.host.seen_at = None
    web_dom.host.save()
    _, said = run("start WEB-Dom")
    assert "The worker on ns3100421 does not answer" in said


# --- who --------------------------------------------------------------------------------------------------------------


def test_root_is_not_a_person(run, web_dom, monkeypatch):
    monkeypatch.setattr(main, "login", lambda: "root")
    code, said = run("start WEB-Dom")
    assert code == 1
    assert "root is not a person" in said
    assert "--as USER" in said
    assert not Job.objects.exists()


def test_root_acts_as_somebody_and_the_log_says_so(run, web_dom, monkeypatch):
    monkeypatch.setattr(main, "login", lambda: "root")
    assert run("start WEB-Dom --as fulup")[0] == 0
    entry = Entry.objects.get(action="machine.start")
    assert (entry.actor_name, entry.address) == ("fulup", "command line, root")


def test_an_owner_starts_their_own_and_finds_no_others(run, web_dom, monkeypatch, dominig, brendan):
    monkeypatch.setattr(main, "login", lambda: "dominig")
    assert run("stop WEB-Dom")[0] == 0
    monkeypatch.setattr(main, "login", lambda: "brendan")
    code, said = run("stop WEB-Dom")
    nothing = run("stop No-Such")[1]
    assert code == 1
    assert said.replace("WEB-Dom", "X") == nothing.replace("No-Such", "X")
    refused = Entry.objects.filter(outcome="refused", actor_name="brendan").first()
    assert refused.action == "machine.stop"


@pytest.mark.parametrize(
    "line", ["create vmname=a vmip=10.10.2.9", "delete WEB-Dom", "firewall dump", "firewall apply", "import /etc/hosts"]
)
def test_an_owner_gets_nowhere_with_the_operators_verbs(run, web_dom, monkeypatch, dominig, line):
    monkeypatch.setattr(main, "login", lambda: "dominig")
    code, said = run(line + " --yes")
    assert code == 1
    assert "may" in said
    assert not Job.objects.exists()
    assert Entry.objects.filter(outcome="refused", actor_name="dominig").count() == 1


def test_an_owner_does_not_act_as_an_operator(run, web_dom, monkeypatch, dominig):
    monkeypatch.setattr(main, "login", lambda: "dominig")
    code, said = run("start WEB-Dom --as fulup")
    assert code == 1
    assert "dominig may not act as fulup" in said


def test_a_deactivated_operator_acts_no_more(run, web_dom, fulup):
    fulup.is_active = False
    fulup.save()
    assert run("start WEB-Dom")[0] == 1


def test_through_sudo_the_login_is_still_the_persons(monkeypatch):
    monkeypatch.setattr(who.os, "getuid", lambda: 0)
    assert who.login({"SUDO_USER": "fulup"}) == "fulup"
    assert who.login({}) == "root"
    monkeypatch.setattr(who.os, "getuid", lambda: 65534)
    assert who.login({"SUDO_USER": "fulup"}) == "nobody"


# --- firewall ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def rules():
    return ROOT / "tests" / "fixtures" / "production.rules"


SMALL = "CreateZone NAME=zFulup NIC=eth0 EXT=91.121.65.140 BR=xen-br1 INT=10.10.1.1 MASK=255.255.255.0\n"


@pytest.fixture
def bare_host(host):
    from zones.services import address_sync

    address_sync(host)
    return host


def test_a_rule_file_says_nothing_to_the_terminal_itself(run, bare_host, tmp_path):
    file = tmp_path / "hostile.rules"
    file.write_text("ZONE=$(id \x1b]0;owned\x07\x1b[2J \x9b31m \u202e)\n")
    _, said = run(f"import {file} --yes")
    assert "$(id" in said
    assert not set("\x1b\x07\x9b\u202e") & set(said)


def test_import_reads_the_sample_and_reports_line_by_line(run, bare_host, rules):
    code, said = run(f"import {rules} --yes")
    assert "line" in said
    assert "objects made. Put on the host what is not there yet with: fridu firewall apply" in said
    assert "All of it was there already." in run(f"import {rules} --yes")[1]
    from firewall.models import PublishedService
    from zones.models import Zone

    assert set(Zone.objects.values_list("name", flat=True)) >= {"zFulup", "zDominig"}
    assert PublishedService.objects.filter(name="DomiWEB").exists()
    assert code in (0, 1), "1 where the file has lines that can't be read"


def test_import_shows_first_and_saves_when_told_to(run, bare_host, rules):
    from zones.models import Zone

    _, said = run(f"import {rules}")
    assert "line" in said
    assert "It would make" in said
    assert ".. zone zFulup" in said
    assert "Nothing was saved. The same command with --yes saves it" in said
    _, said = run(f"import {rules}", answer="n")
    assert said.endswith("Nothing was saved.\n")
    assert not Zone.objects.exists()
    assert not Entry.objects.filter(action="firewall.import").exists()
    run(f"import {rules}", answer="y")
    assert Zone.objects.filter(name="zFulup").exists()


@pytest.mark.parametrize(("answer", "code"), [(None, 1), ("n", 1), ("y", 0)])
def test_importing_ends_well_only_where_it_was_saved(run, bare_host, tmp_path, answer, code):
    file = tmp_path / "small.rules"
    file.write_text(SMALL)
    assert run(f"import {file}", answer=answer)[0] == code
    assert run(f"import {file} --yes")[0] == 0
    assert run(f"import {file}") == (0, "Nothing in it is new; nothing was saved.\n")


def test_zones_that_wait_for_approval_are_no_fault(run, bare_host, tmp_path, monkeypatch):
    file = tmp_path / "small.rules"
    file.write_text(SMALL)
    monkeypatch.setattr(follow, "may_approve", lambda user, job: False)
    code, said = run(f"import {file}", answer="y")
    assert "waits for an operator's approval." in said
    assert Job.objects.get().state == Job.State.PLANNED
    assert code == 0


def test_dump_prints_commands_and_export_the_seeds_format(run, bare_host, rules):
    run(f"import {rules} --yes")
    code, said = run("firewall dump")
    assert code == 0
    assert "iptables" in said
    code, said = run("firewall export")
    assert code == 0
    assert "CreateZone NAME=zFulup" in said


def test_apply_shows_the_difference_and_asks_for_the_job(run, bare_host, rules):
    run(f"import {rules} --yes")
    code, said = run("firewall apply --yes --reason first")
    assert code == 0, said
    assert "91.121.65.140" in said
    job = Job.objects.get(kind="firewall.apply")
    assert job.reason == "first"


# --- the program itself -----------------------------------------------------------------------------------------------


def test_audit_verify_and_createoperator_are_there(run, capsys):
    code, said = run("audit verify")
    assert code == 0
    assert "Chain unbroken" in said
    code, said = run("createoperator erwan")
    assert code == 0
    assert "erwan is an operator now" in said
    assert run("createoperator erwan")[0] == 1
    assert run("createoperator")[0] in (1, 2)


def test_as_a_management_command_it_ends_with_the_same_code(fulup):
    with pytest.raises(SystemExit) as ended:
        call_command("fridu")
    assert ended.value.code == 0
