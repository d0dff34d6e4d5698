"""The append-only, hash-chained log. Only `audit.log.record` writes it."""

from __future__ import annotations

from django.db import models


class Head(models.Model):
    """The chain's last entry; its one row is locked while an entry is appended."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    seq = models.BigIntegerField(default=0)
    digest = models.CharField(max_length=64, default="0" * 64)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="audit_one_head")]


class Entry(models.Model):
    """One deed: who, what, on what, why, outcome, and for host work the commands.

    No foreign keys: SET_NULL would be an UPDATE, and an entry outlives what it speaks of.
    """

    class Outcome(models.TextChoices):
        DONE = "done", "done"
        NOTHING = "nothing", "already so"
        REFUSED = "refused", "refused"
        FAILED = "failed", "failed"

    seq = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField()
    actor_id = models.BigIntegerField(null=True, blank=True)
    actor_name = models.CharField(max_length=150)
    session = models.CharField(max_length=16, blank=True, help_text="Digest of the session key.")
    address = models.CharField(max_length=45, blank=True)
    action = models.CharField(max_length=60)
    object_kind = models.CharField(max_length=30, blank=True)
    object_id = models.CharField(max_length=40, blank=True)
    object_text = models.CharField(max_length=200, blank=True)
    why = models.TextField(blank=True)
    outcome = models.CharField(max_length=8, choices=Outcome)
    job = models.BigIntegerField(null=True, blank=True)
    data = models.JSONField(default=dict, help_text="before, after, commands with exit codes and output digests")
    previous = models.CharField(max_length=64)
    digest = models.CharField(max_length=64)

    class Meta:
        ordering = ["-seq"]
        verbose_name_plural = "entries"
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["object_kind", "object_id", "-seq"], name="audit_by_object"),
            models.Index(fields=["actor_name", "-seq"], name="audit_by_actor"),
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.actor_name} {self.action} {self.object_text}"
