"""What people type about zones. Rules live in services; forms say which words belong to which field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django import forms

from hosts.models import Host
from ui.forms import TYPED, Taking
from zones.models import ExternalAddress, Zone, domain_grammar, zone_grammar
from zones.services import free_gateway

if TYPE_CHECKING:
    AddressField = forms.ModelChoiceField[ExternalAddress]
else:
    AddressField = forms.ModelChoiceField


class AddressChoice(AddressField):
    """External addresses by what they are, with the zones that go out by each already."""

    def label_from_instance(self, obj: ExternalAddress) -> str:
        zones = ", ".join(zone.name for zone in obj.zones.all())
        return f"{obj.address} on {obj.nic}" + (f", with {zones}" if zones else ", free")


class ZoneForm(Taking, forms.Form):
    """A zone: its name, its subnet, its way out."""

    CALLED = {"prefix": "bits"}

    host = forms.ModelChoiceField(Host.objects.all(), empty_label=None)
    name = forms.CharField(
        max_length=15,
        validators=[zone_grammar],
        error_messages={
            "required": "Give it a name, for example zFulup.",
            "max_length": "A zone's name has at most 15 characters; this one has %(show_value)d.",
        },
        help_text="Letters, digits and hyphens.",
        widget=forms.TextInput(attrs={**TYPED, "autofocus": True}),
    )
    gateway = forms.GenericIPAddressField(
        protocol="IPv4",
        label="Gateway",
        error_messages={
            "required": "Give it a gateway, for example 10.10.3.1.",
            "invalid": "That is not an IPv4 address. One looks like 10.10.3.1.",
        },
        help_text="The bridge's own address; machines send everything there.",
        widget=forms.TextInput(attrs={**TYPED, "inputmode": "decimal", "class": "mono"}),
    )
    # A form has an attribute called prefix already.
    bits = forms.IntegerField(
        initial=24,
        label="Prefix",
        error_messages={"invalid": "A prefix is a number from 16 to 29, for example 24."},
        help_text="24 makes room for 253 machines.",
    )
    external = AddressChoice(
        ExternalAddress.objects.prefetch_related("zones"),
        required=False,
        label="Way out",
        empty_label="None: isolated, no way in or out",
        help_text="The public address the Internet sees its machines by.",
    )
    domain = forms.CharField(
        required=False,
        max_length=63,
        validators=[domain_grammar],
        help_text="Names inside, for example fulup.internal.",
        widget=forms.TextInput(attrs=TYPED),
    )
    bridge = forms.CharField(
        required=False,
        max_length=15,
        help_text="Left empty: the next free one.",
        widget=forms.TextInput(attrs={**TYPED, "class": "mono"}),
    )
    reason = forms.CharField(
        required=False,
        max_length=200,
        label="Why",
        help_text="Stands in the audit log and on the job.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    @property
    def wish(self) -> dict[str, Any]:
        """What was typed, by the services' names."""
        data = dict(self.cleaned_data)
        if "bits" in data:
            data["prefix"] = data.pop("bits")
        return data


class CreateForm(ZoneForm):
    """A new zone; the gateway of the next free subnet stands there already."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        hosts = list(Host.objects.all()[:2])
        if hosts:
            self.initial.setdefault("host", hosts[0])
            self.initial.setdefault("gateway", free_gateway(hosts[0]))
        if len(hosts) < 2:
            self.fields["host"].widget = forms.HiddenInput()


class ChangeForm(ZoneForm):
    """A zone that exists; what its bridge is made of can change only until it was first applied."""

    def __init__(self, *args: Any, zone: Zone, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        del self.fields["host"], self.fields["name"]
        if zone.applied_at is not None:
            del self.fields["gateway"], self.fields["bits"], self.fields["bridge"]
        external = cast(AddressChoice, self.fields["external"])
        external.queryset = ExternalAddress.objects.filter(host=zone.host).prefetch_related("zones")
        self.initial.setdefault("bits", zone.prefix)
        for name in ("gateway", "external", "domain", "bridge"):
            self.initial.setdefault(name, getattr(zone, name))


class DeleteForm(forms.Form):
    """Why a zone goes."""

    reason = ZoneForm.base_fields["reason"]
