"""The command line's surroundings: a login, a worker that does its jobs, answers at the terminal."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from django.utils import timezone

from firewall.models import Revision
from fridu_site.cli import follow, main
from hosts.kinds import kind_of
from hosts.models import Host, Job, JobStep
from tests.firewall import says


class Worker:
    """Stands in for dom0's worker: does one thing at every tick of the follower's clock."""

    def __init__(self) -> None:
        self.end = Job.State.DONE
        self.message = ""
        self.note = ""
        self.idle = 0

    def tick(self, _: float) -> None:
        Host.objects.exclude(seen_at=None).update(seen_at=timezone.now())
        job = Job.objects.filter(state__in=Job.WORKING).first()
        if job is None:
            self.idle += 1
            assert self.idle < 50, "nobody would ever finish this job"
        elif job.state == Job.State.PLANNING:
            self._plan(job)
        else:
            self._finish(job)

    def _plan(self, job: Job) -> None:
        JobStep.objects.create(job=job, number=1, stage="image", title="The golden image is there", state="already")
        JobStep.objects.create(
            job=job, number=2, stage="installroot", title=f"Put the image on {job.target_text}", about_s=1,
            shown="cp golden volume", destroys="whatever the volume holds" if job.kind == "machine.delete" else "",
        )  # fmt: skip
        free = job.approver_id is not None or kind_of(job.kind).approval == "none"
        state = Job.State.RUNNING if free else Job.State.PLANNED
        Job.objects.filter(pk=job.pk).update(state=state, digest="d")

    def _finish(self, job: Job) -> None:
        now = timezone.now()
        good = self.end in (Job.State.DONE, Job.State.NOTHING)
        job.steps.filter(number=2).update(state="done" if good else "failed", started=now, ended=now)
        Job.objects.filter(pk=job.pk).update(
            state=self.end, ended=now, first_step_at=now, message=self.message, note=self.note
        )
        revision = Revision.objects.filter(pk=job.args.get("revision")).first()
        if good and revision and job.kind in HOST_SAYS:
            HOST_SAYS[job.kind](revision)


#: What dom0 says of its firewall after a job.
HOST_SAYS = {"firewall.apply": says.tried, "firewall.confirm": says.kept, "firewall.return": says.taken_back}


@pytest.fixture
def worker(monkeypatch):
    made = Worker()
    monkeypatch.setattr(follow.time, "sleep", made.tick)
    return made


@pytest.fixture
def run(monkeypatch, fulup, worker):
    """`run("start WEB-Dom")` as the login fulup; returns exit code and everything that was printed.

    `answer` is what is typed at every question, `late` means that nothing is typed in time; `words` follow those of
    the line and may hold spaces.
    """
    monkeypatch.setattr(main, "login", lambda: "fulup")

    def go(line: str, answer: str | None = None, words: tuple[str, ...] = (), late: bool = False) -> tuple[int, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        if late or answer is not None:
            monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
            monkeypatch.setattr("builtins.input", lambda question: answer)
            monkeypatch.setattr(main, "wait_for_answer", lambda question, until: answer)
        out = io.StringIO()
        code = main.main([*line.split(), *words], out=out, err=out)
        return code, out.getvalue()

    return go


@pytest.fixture
def rules() -> Path:
    return Path(__file__).resolve().parents[1] / "fixtures" / "production.rules"


@pytest.fixture
def bare_host(host):
    from zones.services import address_sync

    address_sync(host)
    return host
