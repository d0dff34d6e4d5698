"""What people type about zones. Rules live in services; forms say which words belong to which field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django import forms
from django.core.exceptions import ValidationError

from hosts.models import Host
from ui.forms import TYPED, Taking
from zones import rates
from zones.checks import free_gateway
from zones.models import ExternalAddress, Zone, domain_grammar, zone_grammar

if TYPE_CHECKING:
    AddressField = forms.ModelChoiceField[ExternalAddress]
else:
    AddressField = forms.ModelChoiceField


class AddressChoice(AddressField):
    """External addresses by what they are, with the zones that go out by each already."""

    def label_from_instance(self, obj: ExternalAddress) -> str:
        zones = ", ".join(zone.name for zone in obj.zones.all())
        return f"{obj.address} on {obj.nic}" + (f", with {zones}" if zones else ", free")


class RateField(forms.CharField):
    """A bandwidth as people write it; its value in kbit/s, None for no ceiling."""

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.TextInput(attrs={**TYPED, "class": "mono", "placeholder": "unlimited"})
        super().__init__(required=False, max_length=20, widget=widget, **kwargs)

    def clean(self, value: Any) -> Any:
        try:
            return rates.kbit(super().clean(value))
        except ValueError as error:
            raise ValidationError(str(error)) from error


class LeaseField(forms.CharField):
    """The two ends of a range of addresses; (None, None) for none."""

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.TextInput(attrs={**TYPED, "class": "mono", "placeholder": "none"})
        super().__init__(required=False, max_length=40, widget=widget, **kwargs)

    def clean(self, value: Any) -> Any:
        return lease_range(super().clean(value))


def lease_range(text: str) -> tuple[str | None, str | None]:
    """ "10.10.3.100-10.10.3.150" as its ends; (None, None) for "" or none. Raises ValidationError."""
    if text.strip().lower() in ("", "none"):
        return None, None
    ends = [part.strip() for part in text.replace("–", "-").split("-")]
    if len(ends) != 2 or not all(ends):
        raise ValidationError("A range is two addresses with a hyphen, for example 10.10.3.100-10.10.3.150.")
    return ends[0], ends[1]


class ZoneForm(Taking, forms.Form):
    """A zone: its name, its subnet, its way out."""

    CALLED = {
        "prefix": "bits",
        "lease_first": "lease",
        "lease_last": "lease",
        "in_kbit": "in_rate",
        "out_kbit": "out_rate",
    }

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
    in_rate = RateField(label="To its machines", help_text="At most, in bits a second: 10M, 512k. Empty: no ceiling.")
    out_rate = RateField(label="From its machines", help_text="What leaves the zone, to anywhere.")
    lease = LeaseField(
        label="Lease range",
        help_text="Addresses for guests plugged in by hand and not entered here yet, such as 10.10.3.100-10.10.3.150. "
        "A lease lets nobody in: the firewall drops whoever it was not told of by interface, MAC and address.",
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
        data["in_kbit"], data["out_kbit"] = data.pop("in_rate"), data.pop("out_rate")
        data["lease_first"], data["lease_last"] = data.pop("lease")
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
    """A zone that exists; its bridge can change only until it was first applied."""

    def __init__(self, *args: Any, zone: Zone, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        del self.fields["host"], self.fields["name"]
        if zone.applied_at is not None:
            del self.fields["bridge"]
        external = cast(AddressChoice, self.fields["external"])
        external.queryset = ExternalAddress.objects.filter(host=zone.host).prefetch_related("zones")
        self.initial.setdefault("bits", zone.prefix)
        self.initial.setdefault("in_rate", rates.typed(zone.in_kbit))
        self.initial.setdefault("out_rate", rates.typed(zone.out_kbit))
        if zone.lease_first:
            self.initial.setdefault("lease", f"{zone.lease_first}-{zone.lease_last}")
        for name in ("gateway", "external", "domain", "bridge"):
            self.initial.setdefault(name, getattr(zone, name))


class DeleteForm(forms.Form):
    """Why a zone or an address goes."""

    reason = ZoneForm.base_fields["reason"]


class AddressForm(Taking, forms.Form):
    """A further external address and the card it shall be on."""

    CALLED = {"nic": "card"}

    card = forms.ChoiceField(
        label="Card",
        help_text="The cards its host names in /etc/fridu/host.toml.",
        error_messages={"invalid_choice": "No host has such a card in its host file. Choose one of the list."},
    )
    address = forms.CharField(
        max_length=40,
        label="Address",
        error_messages={"required": "Give it an address, for example 198.51.100.7."},
        help_text="One public address your provider routes to this host. The card gets it as a /32.",
        widget=forms.TextInput(attrs={**TYPED, "inputmode": "decimal", "class": "mono", "autofocus": True}),
    )
    reason = ZoneForm.base_fields["reason"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        hosts = list(Host.objects.all())
        cards = [(host, nic["name"]) for host in hosts for nic in host.facts.get("nics", ())]
        self.hosts = {f"{host.pk}:{nic}": (host, nic) for host, nic in cards}
        field = cast(forms.ChoiceField, self.fields["card"])
        field.choices = [(f"{host.pk}:{nic}", f"{nic} of {host}") for host, nic in cards]

    @property
    def wish(self) -> dict[str, Any]:
        """What was typed, by the services' names."""
        host, nic = self.hosts[self.cleaned_data["card"]]
        return {"host": host, "nic": nic, **{name: self.cleaned_data[name] for name in ("address", "reason")}}
