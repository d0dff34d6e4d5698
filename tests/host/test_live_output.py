"""What a running step writes is to be seen while it runs, and only what its end would show too."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit.log import Actor, Thing
from dom0.plan import Draft, Plan
from dom0.probe import Scope
from dom0.state import State
from dom0.steps import Command, Put, Step
from hosts import kinds, work
from hosts.kinds import Kind
from hosts.models import Job, JobStep
from hosts.services import job_create
from hosts.show import JobPage

pytestmark = [pytest.mark.host, pytest.mark.django_db]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[JobStep]:
    """The rows as they were in the database right after each writing while the step ran."""
    rows: list[JobStep] = []
    real = work._Live.__call__

    def call(self: work._Live, said: str) -> None:
        real(self, said)
        rows.append(JobStep.objects.get(pk=self.pk))

    monkeypatch.setattr(work._Live, "__call__", call)
    return rows


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host, fulup):
    text = f'name = "{host.name}"\nlibvirt = "test:///default"\nvolumes = "{tmp_path}/v"\nrun = "{tmp_path}/run"\n'
    (tmp_path / "host.toml").write_text(text)
    monkeypatch.setenv("FRIDU_HOST_TOML", str(tmp_path / "host.toml"))
    monkeypatch.setattr(kinds, "_kinds", {})
    monkeypatch.setattr("hosts.tasks.run.apply_async", lambda args, **_: None)
    done = str(tmp_path / "done")

    def plan(job: Job, state: State) -> Plan:
        draft = Draft(state)
        if done not in state.files:
            action = Command(argv=("sh", "-c", f"{job.args['script']}; printf x > {done}"))
            effect = (Put(room="files", key=done, value="x"),)
            draft.do(Step(stage="slow", title="Take its time", action=action, effect=effect))
        return draft.plan()

    scope = Scope(files=(done,))
    kinds.register(
        Kind(
            name="machine.start",
            queue="work",
            approval="none",
            scope=lambda job, config: scope,
            plan=lambda job, state, config: plan(job, state),
            locks=lambda job: ("machine-1",),
        )
    )

    def asked(script: str) -> Job:
        actor, thing = Actor(id=fulup.pk, name="fulup"), Thing(kind="machine", id="7", text="WEB-Dom")
        args = {"script": script}
        return job_create(actor, "machine.start", host=host, title="Take its time", target=thing, args=args)

    return asked


def test_a_command_shows_its_last_lines_while_it_runs_and_all_at_its_end(ask, seen):
    job = ask("seq 1 100; sleep 1.5; echo ready")
    work.run(job.pk)
    job.refresh_from_db()
    step = job.steps.get()
    assert (job.state, step.state) == ("done", "done")
    assert [row.state for row in seen] == ["now"]
    assert seen[0].output.splitlines() == [str(n) for n in range(81, 101)]
    assert step.output.splitlines() == [*(str(n) for n in range(1, 101)), "ready"]


def test_bytes_no_database_takes_stop_nothing(ask, seen):
    job = ask(r"printf 'a\000b\377'; sleep 1.5")
    work.run(job.pk)
    assert seen[0].output == "ab�"


def test_the_page_changes_with_the_running_text_though_it_stays_as_long(ask, fulup):
    job = ask("true")
    Job.objects.filter(pk=job.pk).update(state=Job.State.RUNNING)
    job.refresh_from_db()
    step = JobStep.objects.create(job=job, number=1, stage="slow", title="x", state="now", output="50 %")
    before = JobPage(fulup, job).seen
    JobStep.objects.filter(pk=step.pk).update(output="51 %")
    assert JobPage(fulup, job).seen != before
