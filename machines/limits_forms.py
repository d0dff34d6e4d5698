"""What people type about a machine's limits."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from machines import limit_words
from machines.limits_services import DISK, offers_disk
from machines.models import Machine
from ui.forms import TYPED, Taking
from zones import rates
from zones.forms import RateField


class DiskField(forms.CharField):
    """A disk's rate as people write it; its value in KiB/s, None for no limit."""

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.TextInput(attrs={**TYPED, "class": "mono", "placeholder": "unlimited"})
        super().__init__(required=False, max_length=20, widget=widget, **kwargs)

    def clean(self, value: Any) -> Any:
        try:
            return limit_words.kib_s(super().clean(value))
        except ValueError as error:
            raise ValidationError(str(error)) from error


def _number(label: str, help_text: str, placeholder: str) -> forms.IntegerField:
    widget = forms.TextInput(attrs={**TYPED, "inputmode": "numeric", "class": "mono", "placeholder": placeholder})
    wrong = {"invalid": "That is no whole number. Leave it empty for no limit."}
    return forms.IntegerField(
        required=False, min_value=0, label=label, help_text=help_text, widget=widget, error_messages=wrong
    )


class LimitsForm(Taking, forms.Form):
    """A machine's limits; an empty field is no limit."""

    net_in_kbit = RateField(label="To it, at most", help_text="In bits a second: 10M, 512k. Also from its neighbours.")
    net_out_kbit = RateField(label="From it, at most", help_text="What it sends, to anybody.")
    net_share_kbit = RateField(label="Of its zone's bandwidth, always")
    cpu_weight = _number("CPU weight", "256 is usual; 512 gets twice as much where processors are busy.", "256")
    cpu_cap = _number(
        "CPU cap, % of one processor", "50 is half a processor, 200 are two; also when none is busy.", "no cap"
    )
    disk_kib_s = DiskField(
        label="Bytes a second", help_text="Read, and as much written: 10M are 10 MiB. For each volume."
    )
    disk_iops = _number("Operations a second", "Reads, and as many writes: 200 is a slow disk.", "unlimited")
    reason = forms.CharField(
        required=False,
        max_length=200,
        label="Why",
        help_text="Stands in the audit log and on the job.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    def __init__(self, *args: Any, machine: Machine, left: int | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("net_in_kbit", "net_out_kbit", "net_share_kbit"):
            self.initial.setdefault(name, rates.typed(getattr(machine, name)))
        for name in ("cpu_weight", "cpu_cap", "disk_iops"):
            self.initial.setdefault(name, getattr(machine, name) or None)
        self.initial.setdefault("disk_kib_s", limit_words.typed_kib_s(machine.disk_kib_s))
        share = self.fields["net_share_kbit"]
        share.widget.attrs["placeholder"] = "nothing"
        share.help_text = _share_help(machine, left)
        if not offers_disk(machine.host):
            for name in DISK:
                del self.fields[name]

    @property
    def wish(self) -> dict[str, Any]:
        """What was typed, by the services' names."""
        return dict(self.cleaned_data)


def _share_help(machine: Machine, left: int | None) -> str:
    if left is None:
        return f"{machine.zone.name} has no ceiling of its own: there is nothing to promise a part of."
    free = rates.say(left) or "nothing"
    return f"What it gets however busy the others are. Up to {free} of {machine.zone.name} is free."
