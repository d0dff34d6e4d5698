"""Hosts, jobs and their steps. The database is the queue of record; the broker carries ids only."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db import models
from django.utils import timezone


class Host(models.Model):
    """A dom0. What root may touch there stands in its own host.toml; `facts` is what its worker reported of it."""

    name = models.SlugField(max_length=40, unique=True)
    facts = models.JSONField(default=dict, blank=True)
    figures = models.JSONField(default=dict, blank=True, help_text="memory, disk, load as last seen")
    seen_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def shared(self) -> bool:
        """Whether its machines share its kernel (lxc), which then knows more of them."""
        return str(self.facts.get("libvirt", "")).startswith("lxc:")

    @property
    def fresh(self) -> bool:
        """Whether the host was looked at within the last 30 s."""
        return self.seen_at is not None and timezone.now() - self.seen_at < timedelta(seconds=30)


class Job(models.Model):
    """One change of a host: its plan, its approval, its steps, its end (DESIGN §3)."""

    class State(models.TextChoices):
        PLANNING = "planning", "being planned"
        PLANNED = "planned", "waits for approval"
        APPROVED = "approved", "waits for the worker"
        RUNNING = "running", "running"
        DONE = "done", "done"
        NOTHING = "nothing", "already so"
        REFUSED = "refused", "refused"
        FAILED = "failed", "failed"
        DRIFTED = "drifted", "drifted"
        CANCELLED = "cancelled", "cancelled"

    OPEN = (State.PLANNING, State.PLANNED, State.APPROVED, State.RUNNING)
    WORKING = (State.PLANNING, State.APPROVED, State.RUNNING)
    CLAIMABLE = (State.PLANNING, State.APPROVED)
    RESUMABLE = (State.REFUSED, State.FAILED, State.DRIFTED)

    kind = models.CharField(max_length=40)
    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="jobs")
    title = models.CharField(max_length=200)
    target_kind = models.CharField(max_length=20)
    target_id = models.BigIntegerField()
    target_text = models.CharField(max_length=100)
    args = models.JSONField(default=dict, blank=True)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="jobs")
    actor_session = models.CharField(max_length=16, blank=True)
    actor_address = models.CharField(max_length=45, blank=True)
    reason = models.CharField(max_length=200, blank=True)
    approver = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="approved_jobs",
    )
    state = models.CharField(max_length=9, choices=State, default=State.PLANNING)
    digest = models.CharField(max_length=64, blank=True, help_text="of the plan on show")
    approved_digest = models.CharField(max_length=64, blank=True)
    approved_steps = models.JSONField(default=list, blank=True, help_text="digests of the steps once approved")
    attempt = models.PositiveIntegerField(default=0)
    message = models.TextField(blank=True)
    note = models.TextField(blank=True)
    worker = models.CharField(max_length=80, blank=True)
    created = models.DateTimeField(auto_now_add=True)
    queued = models.DateTimeField(null=True, blank=True, help_text="when the id last went to the broker")
    approved_at = models.DateTimeField(null=True, blank=True)
    claimed_at = models.DateTimeField(null=True, blank=True)
    first_step_at = models.DateTimeField(null=True, blank=True)
    ended = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["state"], name="job_by_state"),
            models.Index(fields=["target_kind", "target_id", "-id"], name="job_by_target"),
        ]

    def __str__(self) -> str:
        return f"{self.pk} {self.title}"

    @property
    def is_open(self) -> bool:
        return self.state in self.OPEN


class JobStep(models.Model):
    """A step of a job: exactly what the page showed, what came of it."""

    class State(models.TextChoices):
        TODO = "todo", "to do"
        NOW = "now", "running"
        DONE = "done", "done"
        ALREADY = "already", "already so"
        FAILED = "failed", "failed"

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="steps")
    number = models.PositiveIntegerField()
    attempt = models.PositiveIntegerField(default=1)
    stage = models.CharField(max_length=20)
    title = models.CharField(max_length=300)
    shown = models.TextField(blank=True)
    destroys = models.CharField(max_length=300, blank=True)
    about_s = models.FloatField(default=0)
    state = models.CharField(max_length=7, choices=State, default=State.TODO)
    output = models.TextField(blank=True)
    code = models.IntegerField(null=True, blank=True)
    started = models.DateTimeField(null=True, blank=True)
    ended = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["job", "number"], name="one_step_a_number")]

    def __str__(self) -> str:
        return f"{self.stage}: {self.title}"

    @property
    def took_s(self) -> float | None:
        return (self.ended - self.started).total_seconds() if self.started and self.ended else None


class JobSecret(models.Model):
    """A secret a job's steps refer to; removed when the job ends."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="secrets")
    name = models.SlugField(max_length=40)
    value = models.TextField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "name"], name="one_secret_a_name")]

    def __str__(self) -> str:
        return f"{self.name}: ****"
