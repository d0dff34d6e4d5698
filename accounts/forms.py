"""What people type about accounts; the services decide."""

from __future__ import annotations

from typing import Any

from allauth.account.forms import ChangePasswordForm, LoginForm
from django import forms
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from accounts.access import Role
from accounts.models import User, name_grammar

PLAIN = {"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}


class SignInForm(LoginForm):  # type: ignore[misc]
    """Named by settings.ACCOUNT_FORMS."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, label in (("login", "Name"), ("password", "Password")):
            field = self.fields[name]
            field.label, field.help_text = label, ""
            field.widget.attrs.pop("placeholder", None)
        self.fields["login"].widget.attrs.update({"autocapitalize": "none", "spellcheck": "false", "autofocus": True})


class PasswordForm(ChangePasswordForm):  # type: ignore[misc]
    """Named by settings.ACCOUNT_FORMS."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        labels = {"oldpassword": "Password until now", "password1": "New password", "password2": "New password again"}
        for name, label in labels.items():
            self.fields[name].label = label
            self.fields[name].help_text = ""
            self.fields[name].widget.attrs.pop("placeholder", None)


class KeyForm(forms.Form):
    """A public SSH key."""

    line = forms.CharField(
        label="Public key",
        strip=True,
        max_length=20_000,
        help_text="The line of ~/.ssh/id_ed25519.pub. None yet? ssh-keygen -t ed25519 makes one.",
        widget=forms.Textarea(attrs={**PLAIN, "rows": 4, "class": "mono"}),
    )
    name = forms.CharField(
        required=False,
        max_length=40,
        help_text="How you tell it from your others; otherwise the comment at its end.",
        widget=forms.TextInput(attrs=PLAIN),
    )


class ThemeForm(forms.Form):
    theme = forms.ChoiceField(label="Colours", required=False, choices=User.Theme.choices)


class InviteForm(forms.Form):
    """A new user."""

    username = forms.CharField(
        label="Name",
        max_length=31,
        validators=[name_grammar],
        help_text="What they sign in with, such as brendan.",
        widget=forms.TextInput(attrs=PLAIN),
    )
    role = forms.ChoiceField(choices=Role.choices, initial=Role.OWNER)
    how = forms.ChoiceField(
        label="First sign-in",
        choices=[("link", "by a one-use link you pass on"), ("password", "by a one-time password you pass on")],
        initial="link",
    )


class RoleForm(forms.Form):
    role = forms.ChoiceField(choices=Role.choices)


class OwnerForm(forms.Form):
    """An association."""

    name = forms.CharField(
        max_length=31,
        validators=[name_grammar],
        help_text="The association machines belong to, such as Chorale.",
        widget=forms.TextInput(attrs=PLAIN),
    )


class MemberForm(forms.Form):
    """Who is to belong to an association."""

    user = forms.ModelChoiceField(User.objects.none(), label="Person", empty_label="Choose")
    maintainer = forms.BooleanField(required=False, label="may change who belongs to it")

    def __init__(self, *args: Any, owner_id: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        people = User.objects.exclude(role=Role.AUDITOR).exclude(membership__owner=owner_id).order_by("username")
        self.fields["user"].queryset = people  # type: ignore[attr-defined]


class ChoosePasswordForm(forms.Form):
    """A password of one's own, typed twice."""

    password1 = forms.CharField(
        label="Password",
        strip=False,
        max_length=200,
        help_text="At least 10 characters, none that everybody uses.",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    password2 = forms.CharField(
        label="Password again",
        strip=False,
        max_length=200,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._user = user

    def clean_password1(self) -> str:
        password = str(self.cleaned_data["password1"])
        validate_password(password, self._user)
        return password

    def clean_password2(self) -> str:
        password = str(self.cleaned_data["password2"])
        if "password1" in self.cleaned_data and password != self.cleaned_data["password1"]:
            raise ValidationError("The two differ. Type the same password twice.")
        return password
