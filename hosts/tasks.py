"""The one registered Celery task. The message is a job id, nothing else."""

from __future__ import annotations

from celery import shared_task

from hosts import work


@shared_task(name="hosts.run", acks_late=True, ignore_result=True)  # type: ignore[untyped-decorator]
def run(job_id: int) -> None:
    """Plan or carry out the job of that id, if it is this host's and nobody else has claimed it."""
    work.run(int(job_id))
