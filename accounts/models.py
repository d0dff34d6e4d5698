"""People: users, the owners machines belong to, SSH keys."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AbstractUser, UserManager
from django.core.validators import RegexValidator
from django.db import models

from accounts.access import Role

name_grammar = RegexValidator(
    r"\A[A-Za-z][A-Za-z0-9-]{0,30}\Z",
    "Use 1 to 31 letters, digits and hyphens, beginning with a letter, for example WEB-Dom.",
)


class Users(UserManager["User"]):
    def create_superuser(
        self, username: str, email: str | None = None, password: str | None = None, **more: Any
    ) -> User:
        return super().create_superuser(username, email, password, **{"role": Role.OPERATOR, **more})


class User(AbstractUser):
    """A person. Deactivated, never deleted: the log speaks of them."""

    class Theme(models.TextChoices):
        SYSTEM = "", "as the system has it"
        LIGHT = "light", "light"
        DARK = "dark", "dark"

    role = models.CharField(max_length=8, choices=Role, default=Role.OWNER)
    theme = models.CharField(max_length=5, choices=Theme, blank=True)
    password_is_once = models.BooleanField(
        default=False, help_text="Made by somebody else: nothing else opens until it is changed."
    )
    objects = Users()  # type: ignore[misc]

    @property
    def is_operator(self) -> bool:
        return self.role == Role.OPERATOR

    @property
    def is_auditor(self) -> bool:
        return self.role == Role.AUDITOR


class Invitation(models.Model):
    """A one-use link by which its user chooses a password. Only the token's digest is kept."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="invitations")
    token_digest = models.CharField(max_length=64, unique=True)
    created = models.DateTimeField(auto_now_add=True)
    expires = models.DateTimeField()
    used = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"invitation of {self.user}"


class Owner(models.Model):
    """Whom a machine belongs to: a person's own, or an association with members."""

    name = models.CharField(max_length=31, unique=True, validators=[name_grammar])
    person = models.OneToOneField(User, on_delete=models.PROTECT, null=True, blank=True, related_name="own")
    members = models.ManyToManyField(User, through="Membership", related_name="owners")

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A user's part in an owner; a maintainer may change who belongs to it."""

    owner = models.ForeignKey(Owner, on_delete=models.CASCADE)
    user = models.ForeignKey(User, on_delete=models.PROTECT)
    maintainer = models.BooleanField(default=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["owner", "user"], name="one_membership")]


class SSHKey(models.Model):
    """A public key of a user, put on the machines he chooses."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="ssh_keys")
    name = models.CharField(max_length=40)
    line = models.TextField(help_text="type and base64, without comment")
    fingerprint = models.CharField(max_length=64)
    added = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["user", "fingerprint"], name="one_key_once"),
            models.UniqueConstraint(fields=["user", "name"], name="one_key_name"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.fingerprint})"


class CacheRow(models.Model):
    """What accounts.cache keeps: tries to sign in, refusals just logged. Never anything of a person's."""

    key = models.CharField(max_length=64, primary_key=True, help_text="digest of the cache's key")
    value = models.JSONField()
    expires = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.key[:8]} until {self.expires:%H:%M:%S}"
