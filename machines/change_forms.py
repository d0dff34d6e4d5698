"""What people type about a machine that is to be changed."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from netaddr import AddrFormatError, IPAddress

from accounts.models import Owner, name_grammar
from machines.change_services import CHANGEABLE
from machines.models import Boot, Machine
from ui.forms import TYPED, Taking
from zones.models import Zone


def _size(label: str, help_text: str, *, least: int = 0, most: int = 1 << 26) -> forms.IntegerField:
    widget = forms.NumberInput(attrs={**TYPED, "inputmode": "numeric"})
    return forms.IntegerField(label=label, help_text=help_text, min_value=least, max_value=most, widget=widget)


class SettingsForm(Taking, forms.Form):
    """All of a machine that can be changed, filled in with what it is."""

    name = forms.CharField(
        max_length=31,
        validators=[name_grammar],
        help_text="Volumes, DHCP, DNS and its host name follow.",
        widget=forms.TextInput(attrs={**TYPED}),
    )
    zone = forms.ModelChoiceField(Zone.objects.none(), empty_label=None)
    address = forms.CharField(
        max_length=15,
        required=False,
        help_text="In another zone: leave it, and it gets the lowest free one there.",
        widget=forms.TextInput(attrs={**TYPED, "inputmode": "decimal", "list": "free", "class": "mono"}),
    )
    owner = forms.ModelChoiceField(
        Owner.objects.all(), empty_label=None, help_text="Is root on it, starts and stops it."
    )
    memory_mib = _size("Memory, MB", "", least=16, most=1 << 20)
    vcpus = _size("vCPUs", "", least=1, most=64)
    root_mib = _size("Root volume, MB", "Only grows, by 16 MB or more.", least=16)
    swap_mib = _size("Swap, MB", "0 is none. Made anew, with the machine off.")
    log_mib = _size("Log volume, MB", "0 is none: what was on it is lost. Else it only grows.")
    autostart = forms.BooleanField(required=False, label="Starts with the host, as long as it is meant to run")
    start_order = _size("Start order", "Lower starts first; 100 is usual.", most=999)
    on_crash = forms.ChoiceField(choices=Machine.OnCrash, label="After a crash")
    boot = forms.ChoiceField(choices=Boot, label="Kernel from")
    kernel = forms.ChoiceField(required=False, label="Kernel")
    reason = forms.CharField(
        required=False,
        max_length=200,
        label="Why",
        help_text="Stands in the audit log and on the job.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    def __init__(self, *args: Any, machine: Machine, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.machine = machine
        for field in CHANGEABLE:
            self.initial.setdefault(field, getattr(machine, f"{field}_id" if field in ("zone", "owner") else field))
        zones = cast("forms.ModelChoiceField[Zone]", self.fields["zone"])
        zones.queryset = Zone.objects.filter(host=machine.host_id)
        if str(machine.host.facts.get("libvirt", "")).startswith("lxc:"):
            for field in ("boot", "kernel", "on_crash"):
                del self.fields[field]  # the host's own kernel, and nothing that could crash apart from it
        else:
            self._say_kernels(machine)

    def _say_kernels(self, machine: Machine) -> None:
        known = [kernel["name"] for kernel in machine.host.figures.get("kernels") or ()]
        if machine.kernel and machine.kernel not in known:
            known.append(machine.kernel)
        choices = [("", "The host’s default, or the image’s newest"), *((name, name) for name in known)]
        cast(forms.ChoiceField, self.fields["kernel"]).choices = choices

    @property
    def wish(self) -> dict[str, Any]:
        """What was typed otherwise than it is, by the services' names."""
        data = {name: value for name, value in self.cleaned_data.items() if name in CHANGEABLE}
        if data["zone"] != self.machine.zone and not _lies_in(data["zone"], data["address"]):
            data.pop("address")  # as it was: a free one of the new zone is meant
        return {name: value for name, value in data.items() if value != getattr(self.machine, name)}

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if not data.get("address") and data.get("zone") == self.machine.zone:
            data["address"] = self.machine.address
        return data


def _lies_in(zone: Zone, address: str) -> bool:
    try:
        return IPAddress(address, version=4) in zone.network
    except (AddrFormatError, ValueError):
        return False
