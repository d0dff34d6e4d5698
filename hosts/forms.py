"""What a person types to approve a plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from allauth.account.adapter import get_adapter
from django import forms
from django.core.exceptions import ValidationError

from accounts.models import User
from hosts.models import Job


class ApproveForm(forms.Form):
    """The digest of the plan on show; for a plan that destroys data also the target's name and the password."""

    digest = forms.CharField(max_length=64, widget=forms.HiddenInput)
    name = forms.CharField(
        max_length=100,
        strip=True,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}),
    )
    password = forms.CharField(
        max_length=200,
        strip=False,
        label="Your password again",
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )

    def __init__(self, data: Mapping[str, Any] | None = None, *, user: User, job: Job, destroys: bool) -> None:
        super().__init__(data, initial={"digest": job.digest})
        self._user, self._job = user, job
        self.fields["name"].label = f"Type {job.target_text} to go on"
        if not destroys:
            del self.fields["name"], self.fields["password"]

    def clean_name(self) -> str:
        name = str(self.cleaned_data["name"])
        if name != self._job.target_text:
            raise ValidationError(f"This plan is about {self._job.target_text}; type exactly that name.")
        return name

    def clean_password(self) -> str:
        password = str(self.cleaned_data["password"])
        if not get_adapter().reauthenticate(self._user, password):
            raise ValidationError("That is not your password. Type the one you signed in with.")
        return password
