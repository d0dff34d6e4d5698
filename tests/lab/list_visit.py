"""The demo inside a host of the lab, and the three who come to it."""

from __future__ import annotations

from tests.lab.list_pages import Page, Visitor, number_in
from tests.lab.list_world import VOLUMES, World


class Visit:
    """The demo, and the three who come to it."""

    def __init__(self) -> None:
        self.world = World()
        self._in: dict[str, Visitor] = {}

    def visitor(self, login: str) -> Visitor:
        """Who signed in as the operator, the owner or the auditor."""
        if login not in self._in:
            self._in[login] = Visitor(self.world.state["url"])
            self._in[login].sign_in(**self.world.state["logins"][login])
        return self._in[login]

    def ends(self, job: int, *states: str) -> None:
        assert self.world.job_in(job, "done", "nothing", "failed", "refused", "drifted")
        assert self.world.job_said(job).startswith(tuple(f"[('{state}'" for state in states)), self.world.job_said(job)

    def approve(self, page: Page, button: str, **typed: str) -> int:
        """Wait for the plan on a job's page, approve it there, see it done; the job."""
        job = number_in(page.url)
        assert self.world.job_in(job, "planned", "refused"), self.world.job_said(job)
        operator = self.visitor("operator")
        operator.send(operator.get(page.url), button, **typed)
        self.ends(job, "done")
        return job

    def delete(self, name: str) -> None:
        operator = self.visitor("operator")
        page = operator.get(f"/machines/{self.world.machine(name)}/delete/")
        password = self.world.state["logins"]["operator"]["password"]
        plan = operator.send(page, "Plan the deletion", name=name)
        self.approve(plan, f"Delete {name}", name=name, password=password)
        assert not (VOLUMES / f"{name}-root.img").exists()
        assert not self.world.sql("select 1 from machines_machine where name = ?", name)
