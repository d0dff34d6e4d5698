"""What people type about snapshots and reinstalls; the rules live in services."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError

from machines.forms import DeleteForm
from machines.models import Image, Machine
from machines.snapshot_services import LABEL, LEAST_ROOM_MIB
from ui.forms import TYPED

LASTS = [
    ("7d", "7 days"),
    ("1d", "1 day"),
    ("30d", "30 days"),
    ("90d", "90 days"),
    ("never", "until somebody deletes it"),
]


class SnapshotForm(forms.Form):
    """A snapshot to be taken."""

    label = forms.CharField(
        max_length=20,
        label="Name",
        help_text="Small letters, digits and hyphens, for example before-update.",
        widget=forms.TextInput(attrs={**TYPED, "class": "mono"}),
    )
    expires = forms.ChoiceField(choices=LASTS, label="Keep it for", help_text="It is removed by itself then.")
    note = forms.CharField(
        required=False, max_length=200, label="Note", widget=forms.TextInput(attrs={"autocomplete": "off"})
    )
    room_mib = forms.IntegerField(
        required=False,
        min_value=LEAST_ROOM_MIB,
        max_value=1 << 26,
        label="Room for changes, MB",
        help_text="Empty: for all of it, so that it never runs full.",
    )

    def __init__(self, *args: Any, machine: Machine, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not machine.volume_group:  # a copy of an image file is whole from the beginning
            del self.fields["room_mib"]

    def clean_label(self) -> str:
        label: str = self.cleaned_data["label"]
        if not LABEL.fullmatch(label):
            raise ValidationError("Use up to 20 small letters, digits and hyphens, such as before-update.")
        return label


class ReinstallForm(DeleteForm):
    """The name, typed once more, before the root is made anew; from which image, and how root gets in."""

    image = forms.ModelChoiceField(Image.objects.none(), label="Image", empty_label=None)
    password = forms.BooleanField(
        required=False,
        label="Give root a one-time password",
        help_text="Shown once on the next page. Without it the SSH keys of the machine are the way in.",
    )
    field_order = ("image", "password", "name", "reason")

    def __init__(self, *args: Any, machine: Machine, **kwargs: Any) -> None:
        super().__init__(*args, machine=machine, **kwargs)
        image = cast("forms.ModelChoiceField[Image]", self.fields["image"])
        image.queryset = Image.objects.filter(host=machine.host_id).exclude(digest="")
        self.initial.setdefault("image", machine.image_id)
