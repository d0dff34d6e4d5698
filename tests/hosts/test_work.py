"""A job's life with a real plan on real files: asked, planned, approved, run, killed, gone on with."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.core.exceptions import PermissionDenied

from audit.log import Actor, Thing
from audit.models import Entry
from dom0 import files as written
from dom0.errors import Refused, StalePlan
from dom0.plan import Draft, Plan
from dom0.probe import Scope
from dom0.state import State
from dom0.steps import Put, Step, WriteFile
from hosts import kinds, sweep, work
from hosts.kinds import Kind
from hosts.models import Job, JobSecret, JobStep
from hosts.services import job_approve, job_cancel, job_create, job_go_on

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.django_db(transaction=False)


@pytest.fixture
def config(tmp_path, monkeypatch, host):
    text = f'name = "{host.name}"\nlibvirt = "test:///default"\nvolumes = "{tmp_path}/v"\nrun = "{tmp_path}/run"\n'
    (tmp_path / "host.toml").write_text(text)
    monkeypatch.setenv("FRIDU_HOST_TOML", str(tmp_path / "host.toml"))
    from dom0 import host as host_file

    return host_file.load()


class Files:
    """A kind of job that writes the files of its args, one step each, reading what is there."""

    def __init__(self, folder: Path, approval: kinds.Approval) -> None:
        self.folder = folder
        self.kind = Kind(
            name="machine.create" if approval == "own" else "machine.start",
            queue="work",
            approval=approval,
            scope=lambda job, config: Scope(files=tuple(self.path(n) for n in job.args["write"])),
            plan=lambda job, state, config: self.plan(job, state),
            locks=lambda job: ("machine-1",),
        )

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def plan(self, job: Job, state: State) -> Plan:
        draft = Draft(state)
        for name, text in job.args["write"].items():
            path = self.path(name)
            if state.files.get(path) == text:
                draft.so(name, f"{name} is written")
                continue
            action = WriteFile(path=path, content=text)
            draft.do(
                Step(
                    stage=name, title=f"Write {name}", action=action, effect=(Put(room="files", key=path, value=text),)
                )
            )
        return draft.plan()


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setattr(kinds, "_kinds", {})

    def make(approval: kinds.Approval) -> Files:
        made = Files(tmp_path, approval)
        kinds.register(made.kind)
        return made

    return make


@pytest.fixture(autouse=True)
def sent(monkeypatch):
    """Ids that went to the broker (the edge of this test); the worker is called by the test."""
    ids: list[int] = []
    monkeypatch.setattr("hosts.tasks.run.apply_async", lambda args, **_: ids.append(args[0]))
    return ids


def ask(user, host, kind="machine.start", **args):
    actor = Actor(id=user.pk, name=user.username)
    args.setdefault("args", {"write": {"one": "1", "two": "2"}})
    thing = Thing(kind="machine", id="7", text="WEB-Dom")
    return job_create(actor, kind, host=host, title="Write two files", target=thing, **args)


def actor(user) -> Actor:
    return Actor(id=user.pk, name=user.username)


def test_a_job_without_approval_runs_and_leaves_its_commands_in_the_log(fulup, host, config, files, tmp_path):
    files("none")
    job = ask(fulup, host, reason="because")
    work.run(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.DONE
    assert (tmp_path / "one").read_text() == "1"
    entry = Entry.objects.get(outcome="done", job=job.pk, data__state="done")
    assert (entry.actor_name, entry.object_text, entry.why) == ("fulup", "WEB-Dom", "because")
    assert [c["stage"] for c in entry.data["commands"]] == ["one", "two"]
    assert "install -m 0644" in entry.data["commands"][0]["command"]


def test_a_job_whose_wish_is_so_already_does_nothing(fulup, host, config, files, tmp_path):
    files("none")
    (tmp_path / "one").write_text("1")
    (tmp_path / "two").write_text("2")
    job = ask(fulup, host)
    work.run(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.NOTHING
    assert set(job.steps.values_list("state", flat=True)) == {JobStep.State.ALREADY}


def test_a_plan_waits_for_the_approval_of_exactly_its_digest(fulup, host, config, files, tmp_path):
    files("own")
    job = ask(fulup, host, "machine.create")
    work.run(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.PLANNED
    assert not (tmp_path / "one").exists()
    with pytest.raises(StalePlan):
        job_approve(actor(fulup), job, "0" * 64)
    job_approve(actor(fulup), job, job.digest)
    work.run(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.DONE


def test_a_plan_that_changed_after_approval_is_shown_anew_and_nothing_done(fulup, host, config, files, tmp_path):
    files("own")
    job = ask(fulup, host, "machine.create")
    work.run(job.pk)
    job.refresh_from_db()
    job_approve(actor(fulup), job, job.digest)
    (tmp_path / "one").write_text("1")
    work.run(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.PLANNED
    assert "changed since you approved" in job.message
    assert not (tmp_path / "two").exists()


def test_a_second_delivery_of_the_same_id_does_nothing_twice(fulup, host, config, files, tmp_path):
    files("none")
    job = ask(fulup, host)
    work.run(job.pk)
    (tmp_path / "one").write_text("changed by hand")
    work.run(job.pk)
    assert (tmp_path / "one").read_text() == "changed by hand"
    assert Entry.objects.filter(job=job.pk, data__has_key="commands").count() == 1


def test_an_id_whose_job_a_live_worker_holds_is_left_alone(fulup, host, config, files, tmp_path):
    files("none")
    job = ask(fulup, host)
    with written.lock(work.lock_path(config, job.pk)):
        work.run(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.PLANNING


def test_a_failed_job_goes_on_without_a_second_approval_and_without_doing_a_step_twice(
    fulup, host, config, files, tmp_path, monkeypatch
):
    files("own")
    job = ask(fulup, host, "machine.create")
    work.run(job.pk)
    job.refresh_from_db()
    job_approve(actor(fulup), job, job.digest)
    write = written.write_atomic

    def full(path: str, content: str, mode: int) -> None:
        if path.endswith("two"):
            raise OSError(28, "No space left on device")
        write(path, content, mode)

    with monkeypatch.context() as disk:
        disk.setattr(written, "write_atomic", full)
        work.run(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.FAILED
    assert "No space left" in job.message
    before = (tmp_path / "one").stat().st_mtime_ns
    job_go_on(actor(fulup), job)
    work.run(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.DONE
    assert (tmp_path / "one").stat().st_mtime_ns == before
    assert [s.stage for s in job.steps.filter(state="done")] == ["one", "two"]


def test_a_job_whose_worker_died_is_closed_by_the_sweep_and_goes_on(fulup, host, config, files, tmp_path):
    files("none")
    job = ask(fulup, host)
    Job.objects.filter(pk=job.pk).update(state=Job.State.RUNNING, attempt=1)
    JobStep.objects.create(job=job, number=1, stage="one", title="Write one", state="now")
    sweep.sweep(config)
    job.refresh_from_db()
    assert job.state == Job.State.FAILED
    assert "during one" in job.message
    job_go_on(actor(fulup), job)
    work.run(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.DONE


def test_the_sweep_sends_again_what_the_broker_forgot(fulup, host, config, files, sent):
    files("none")
    job = ask(fulup, host)
    assert sent == []  # the transaction of this test never commits
    sweep.sweep(config)
    assert sent == [job.pk]
    sweep.sweep(config)
    assert sent == [job.pk]


NOTE = "import sys,time; from dom0 import host; from hosts import hearing; hearing.note(host.load(), 'work'); print(1)"


@pytest.fixture
def listening(config, monkeypatch):
    """A process that says it works on the queue "work", and takes no job."""
    argv = (sys.executable, "-c", f"{NOTE}; sys.stdout.flush(); time.sleep(60)")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout.read(1) == b"1"
        monkeypatch.setattr(sweep, "_unheard", {})
        monkeypatch.setattr(sweep, "UNHEARD_S", 0.0)
        yield process
        process.kill()


def test_a_worker_that_takes_no_job_is_ended(fulup, host, config, files, sent, listening):
    files("none")
    ask(fulup, host)
    sweep.sweep(config)
    sweep.sweep(config)
    assert listening.wait(5) == -signal.SIGKILL


def test_a_worker_that_has_a_job_or_listens_only_now_or_is_sent_none_goes_on(
    fulup, host, config, files, sent, listening, monkeypatch
):
    files("none")
    sweep.sweep(config)
    sweep.sweep(config)
    job = ask(fulup, host)
    with written.lock(work.lock_path(config, job.pk)):
        sweep.sweep(config)
        sweep.sweep(config)
    monkeypatch.setattr(sweep, "UNHEARD_S", 30.0)
    monkeypatch.setattr(sweep, "_unheard", {job.pk: time.monotonic() - 40})
    sweep.sweep(config)
    with pytest.raises(subprocess.TimeoutExpired):
        listening.wait(1)


def test_a_second_job_for_the_same_machine_is_refused_while_one_is_open(fulup, host, files):
    files("none")
    ask(fulup, host)
    with pytest.raises(Refused, match="still open for WEB-Dom"):
        ask(fulup, host)


def test_a_stopped_job_does_not_go_on_beside_an_open_one(fulup, host, files):
    files("none")
    stopped = ask(fulup, host)
    Job.objects.filter(pk=stopped.pk).update(state=Job.State.FAILED)
    stopped.refresh_from_db()
    later = ask(fulup, host)
    with pytest.raises(Refused, match=f"Job {later.pk} .* is still open for WEB-Dom"):
        job_go_on(actor(fulup), stopped)
    stopped.refresh_from_db()
    assert stopped.state == Job.State.FAILED


def test_a_job_of_another_host_is_not_touched(fulup, host, config, files, tmp_path):
    files("none")
    from hosts.models import Host

    job = ask(fulup, Host.objects.create(name="elsewhere"))
    work.run(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.PLANNING
    assert not (tmp_path / "one").exists()


def test_cancelling_forgets_the_secrets(fulup, host, config, files):
    files("own")
    job = ask(fulup, host, "machine.create", secrets={"root": "x"})
    job_cancel(actor(fulup), job)
    assert not JobSecret.objects.exists()
    with pytest.raises(Refused):
        job_cancel(actor(fulup), job)


def test_a_fault_of_fridu_itself_reaches_the_user_as_a_sentence(fulup, host, config, files, monkeypatch):
    kind = files("none")
    job = ask(fulup, host)

    def burst(job, state):
        raise ZeroDivisionError

    monkeypatch.setattr(kind, "plan", burst)
    work.run(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.FAILED
    assert "ZeroDivision" not in job.message


def test_a_job_whose_asker_has_lost_the_right_since_is_refused_by_the_worker(fulup, host, config, files, tmp_path):
    files("none")
    job = ask(fulup, host)
    fulup.role = "owner"
    fulup.save()
    work.run(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.REFUSED
    assert "fulup may not do this any more" in job.message
    assert not (tmp_path / "one").exists()


def test_nobody_moves_on_the_job_of_another(fulup, dominig, host, config, files):
    files("own")
    job = ask(fulup, host, "machine.create")
    work.run(job.pk)
    job.refresh_from_db()
    with pytest.raises(PermissionDenied):
        job_approve(actor(dominig), job, job.digest)
    with pytest.raises(PermissionDenied):
        job_cancel(actor(dominig), job)
    with pytest.raises(PermissionDenied):
        job_go_on(actor(dominig), job)
    job.refresh_from_db()
    assert job.state == Job.State.PLANNED
