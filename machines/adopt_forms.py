"""What is typed about a machine that was found on a host."""

from __future__ import annotations

from django import forms

from accounts.models import Owner
from hosts.models import Host
from zones.models import Zone


class AdoptForm(forms.Form):
    """Where it belongs and whose it is; all else stays as it was found."""

    zone = forms.ModelChoiceField(queryset=Zone.objects.none(), error_messages={"required": "Choose its zone."})
    address = forms.GenericIPAddressField(
        protocol="IPv4",
        error_messages={"required": "Say which address it has.", "invalid": "That is no address such as 10.10.1.4."},
    )
    owner = forms.ModelChoiceField(
        queryset=Owner.objects.order_by("name"),
        empty_label="Choose one",
        error_messages={"required": "Choose whose it is."},
    )
    reason = forms.CharField(
        max_length=200, required=False, label="Why", help_text="Stands in the audit log and on the job."
    )

    def __init__(self, data: object, *, host: Host, zone: Zone | None, address: str) -> None:
        super().__init__(data, initial={"zone": zone, "address": address})  # type: ignore[arg-type]
        self.fields["zone"].queryset = Zone.objects.filter(host=host).order_by("name")  # type: ignore[attr-defined]
