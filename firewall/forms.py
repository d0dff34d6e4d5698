"""What people type about the firewall. Rules live in services; forms say which words belong to which field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone

from firewall import rows
from firewall.models import Proto, PublishedService, ZoneRestriction, service_grammar
from firewall.own_rules import Wanted
from firewall.specs import PLACES, Cell, Ports
from hosts.models import Host
from machines.models import Expected, Machine
from ui.forms import TYPED, Taking
from zones.models import ExternalAddress, Zone

if TYPE_CHECKING:
    AddressField = forms.ModelChoiceField[ExternalAddress]
else:
    AddressField = forms.ModelChoiceField


class Addresses(forms.models.ModelChoiceIterator):  # type: ignore[type-arg]
    """What is no address of its own comes last: it is the exception."""

    def __iter__(self) -> Iterator[Any]:
        found = list(super().__iter__())
        first = 1 if self.field.empty_label is not None else 0
        return iter((*found[first:], *found[:first]))


class AddressChoice(AddressField):
    """External addresses by what they are, with the zones that go out by each."""

    iterator = Addresses
    # Needed for a machine, not for dom0: neither "optional" nor demanded by the browser.
    depends = True

    def label_from_instance(self, obj: ExternalAddress) -> str:
        zones = ", ".join(zone.name for zone in obj.zones.all())
        return f"{obj.address}" + (f", {zones}" if zones else "")


class PortsField(forms.CharField):
    """A port or a range of ports, as (first, last)."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=11, **kwargs)
        self.widget.attrs |= {**TYPED, "inputmode": "numeric", "class": "mono"}

    def clean(self, value: Any) -> tuple[int, int] | None:
        text = super().clean(value)
        if not text:
            return None
        first, _, last = text.replace(":", "-").partition("-")
        if not all(part.isascii() and part.isdigit() for part in (first, last or first)):
            raise ValidationError("Write a port such as 443, or a range such as 5000-5010.")
        low, high = int(first), int(last or first)
        if not (0 < low < 65536 and 0 < high < 65536):
            raise ValidationError("Ports go from 1 to 65535.")
        if low > high:
            raise ValidationError(f"Write the lower one first: {high}-{low}.")
        return low, high


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def why(**kwargs: Any) -> forms.CharField:
    return forms.CharField(
        max_length=200,
        label="Why",
        help_text="Stands in the audit log.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        **kwargs,
    )


def _likeliest(host: Host, target: str) -> int | None:
    """The address most probably meant: that of the machine's zone, else the one used last, else a zone's."""
    machine = Machine.objects.filter(host=host, name__iexact=target).select_related("zone").first() if target else None
    if machine and machine.zone.external_id:
        return machine.zone.external_id
    used = PublishedService.objects.filter(host=host, external__isnull=False).order_by("-pk")
    last = used.values_list("external", flat=True).first()
    return (
        last or ExternalAddress.objects.filter(host=host).order_by("zones", "pk").values_list("pk", flat=True).first()
    )


class PublishForm(Taking, forms.Form):
    """A port of an external address and where it leads."""

    name = forms.CharField(
        max_length=31,
        validators=[service_grammar],
        error_messages={
            "required": "Give it a name, for example DomiTLS.",
            "max_length": "A service's name has at most 31 characters; this one has %(show_value)d.",
        },
        help_text="Letters, digits, hyphens and underscores.",
        widget=forms.TextInput(attrs=TYPED),
    )
    external = AddressChoice(
        ExternalAddress.objects.none(),
        required=False,
        label="External address",
        empty_label="Every one (only for a port of dom0 itself)",
    )
    proto = forms.ChoiceField(choices=Proto.choices, label="Protocol")
    port = PortsField(
        label="External port", error_messages={"required": "Which port? 443, or a range such as 5000-5010."}
    )
    target = forms.CharField(
        max_length=31,
        label="Leads to",
        error_messages={"required": "Name a machine, its address, or dom0."},
        help_text="A machine’s name or address, or dom0 for a port of the host itself.",
        widget=forms.TextInput(attrs={**TYPED, "list": "machines"}),
    )
    target_port = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=65535,
        label="Port there",
        error_messages={
            "invalid": "Write a port such as 8443, or leave it empty.",
            "min_value": "Ports go from 1 to 65535.",
            "max_value": "Ports go from 1 to 65535.",
        },
        help_text="Left empty: the same port. Of a range: its first.",
        widget=forms.TextInput(attrs={**TYPED, "inputmode": "numeric", "class": "mono"}),
    )
    reason = why(required=False)

    def __init__(self, *args: Any, host: Host, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.host = host
        external = cast(AddressChoice, self.fields["external"])
        external.queryset = ExternalAddress.objects.filter(host=host).prefetch_related("zones")
        if not self.is_bound and "external" not in self.initial:
            self.initial["external"] = _likeliest(host, str(self.initial.get("target", "")))

    def clean_target(self) -> str | None:
        """The target's address; None for dom0."""
        text = str(self.cleaned_data["target"]).strip()
        if text.lower() == "dom0":
            return None
        machine = (
            Machine.objects.filter(host=self.host, name__iexact=text).first()
            or Expected.objects.filter(host=self.host, name__iexact=text).first()
        )
        if machine:
            return str(machine.address)
        try:
            return str(forms.GenericIPAddressField(protocol="IPv4").clean(text))
        except ValidationError:
            raise ValidationError(f"There is no machine “{text}” here. Name one of the list, or an address.") from None

    @staticmethod
    def of(service: PublishedService) -> dict[str, Any]:
        """A service as somebody would type it."""
        machine = Machine.objects.filter(host=service.host, address=service.target).first() if service.target else None
        same = not service.target or service.target_port == service.port
        return {
            "name": service.name,
            "external": service.external_id,
            "proto": service.proto,
            "port": _span(service.port, service.port_last),
            "target": machine.name if machine else service.target or "dom0",
            "target_port": "" if same else service.target_port,
        }

    @property
    def wish(self) -> dict[str, Any]:
        """What was typed, by the service's names."""
        data = dict(self.cleaned_data)
        data["port"], data["port_last"] = data["port"]
        return data


class PortsForm(forms.Form):
    """Which address, and which port one would like there."""

    external = AddressChoice(ExternalAddress.objects.none(), label="External address", empty_label=None)
    proto = forms.ChoiceField(choices=Proto.choices, label="Protocol")
    port = PortsField(label="Port you would like", required=False)

    def __init__(self, *args: Any, host: Host, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        external = cast(AddressChoice, self.fields["external"])
        external.queryset = ExternalAddress.objects.filter(host=host).prefetch_related("zones")
        self.fields["port"].widget.attrs["placeholder"] = "443 or 5000-5010"


class RestrictionForm(Taking, forms.Form):
    """What a zone may not send or receive (the seed's TuneZone)."""

    name = forms.CharField(
        max_length=31,
        validators=[service_grammar],
        error_messages={"required": "Give it a name, for example BR3_NOSMTP."},
        widget=forms.TextInput(attrs=TYPED),
    )
    zone = forms.ModelChoiceField(Zone.objects.none(), empty_label=None)
    direction = forms.ChoiceField(choices=[("out", "leaving the zone"), ("in", "coming into the zone")])
    action = forms.ChoiceField(
        choices=ZoneRestriction.Action.choices,
        help_text="Drop is silent, reject answers. Accept exempts from the restrictions after it.",
    )
    proto = forms.ChoiceField(choices=Proto.choices, label="Protocol")
    port = PortsField(
        label="Port",
        help_text="Such as 25 or 5000-5010. A published port counts by both its numbers, outside and inside.",
    )
    address = forms.CharField(
        required=False,
        max_length=18,
        label="Only to or from",
        help_text="An address or network, for example 10.10.1.0/24.",
        widget=forms.TextInput(attrs={**TYPED, "class": "mono"}),
    )
    reason = why(required=False)

    @staticmethod
    def of(row: ZoneRestriction) -> dict[str, Any]:
        """A restriction as somebody would type it."""
        same = {key: getattr(row, key) for key in ("name", "direction", "action", "proto", "address")}
        return {**same, "zone": row.zone_id, "port": _span(row.port, row.port_last)}

    def __init__(self, *args: Any, host: Host, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        zone = cast("forms.ModelChoiceField[Zone]", self.fields["zone"])
        zone.queryset = Zone.objects.filter(host=host)

    @property
    def wish(self) -> dict[str, Any]:
        """What was typed, by the service's names."""
        data = dict(self.cleaned_data)
        data["port"], data["port_last"] = data["port"]
        return data


class CellPorts(forms.CharField):
    """Needed where only these ports are open: neither "optional" nor demanded by the browser."""

    depends = True


class CellForm(Taking, forms.Form):
    """One cell of the policy grid."""

    may = forms.ChoiceField(
        choices=[("none", "Nothing"), ("all", "Everything"), ("only", "Only these ports")],
        widget=forms.RadioSelect,
        label="May open",
    )
    ports = CellPorts(
        required=False,
        max_length=200,
        label="Ports",
        help_text="For example tcp:80, udp:514-520.",
        widget=forms.TextInput(attrs={**TYPED, "class": "mono"}),
    )
    both = forms.BooleanField(required=False, label="The same the other way")
    reason = why(required=False)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        found: tuple[Ports, ...] = ()
        if data.get("may") in ("none", "all") and data.get("ports") and "ports" in self.changed_data:
            self.add_error("ports", "Ports are opened by “Only these ports” alone. Choose that, or empty this field.")
        if data.get("may") == "only":
            try:
                found = rows.ports_in(data.get("ports", ""))
            except ValueError as error:
                self.add_error("ports", str(error))
            if not found and not self.errors:
                self.add_error("ports", "Which ports? For example tcp:80, udp:514-520.")
        data["found"] = found
        return data

    def cells(self, source: str, target: str, *, back: bool) -> list[Cell]:
        """The cell as typed, and the one the other way where asked for and possible (`back`)."""
        everything, ports = self.cleaned_data["may"] == "all", self.cleaned_data["found"]
        out = [Cell(source=source, target=target, everything=everything, ports=ports)]
        if back and self.cleaned_data["both"]:
            out.append(Cell(source=target, target=source, everything=everything, ports=ports))
        return out


class CustomForm(Taking, forms.Form):
    """An operator's own rule."""

    place = forms.ChoiceField(
        choices=[(place, place) for place in PLACES],
        help_text="Before or after the panel’s own rules. Input is what comes to dom0 itself, output what dom0 sends, "
        "forwarding what passes through it to and from machines.",
    )
    rule = forms.CharField(
        max_length=300,
        error_messages={"required": "Write the rule's arguments: -i eth0 -p tcp --dport 9100 -j ACCEPT"},
        help_text="iptables arguments after the chain, for example -i eth0 -p tcp --dport 9100 -j ACCEPT",
        widget=forms.TextInput(attrs={**TYPED, "class": "mono"}),
    )
    reason = why(error_messages={"required": "Say why: whoever comes after you will ask."})
    expires = forms.DateTimeField(
        required=False,
        label="Ends on",
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%d"],
        error_messages={"invalid": "Write a date such as 2027-01-31, or with the hour: 2027-01-31 18:00."},
        help_text="From then on it is no wish any more and goes with the next apply. Left empty: it stays.",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )

    @staticmethod
    def typed(wanted: Wanted) -> dict[str, str]:
        """A rule as the fields have it."""
        ends = timezone.localtime(wanted.expires).strftime("%Y-%m-%dT%H:%M") if wanted.expires else ""
        return {"place": wanted.place, "rule": wanted.rule, "reason": wanted.reason, "expires": ends}

    @classmethod
    def again(cls, wanted: Wanted, objection: str) -> CustomForm:
        """What was typed, with what the host said to it beside the rule."""
        form = cls(cls.typed(wanted))
        form.add_error("rule", objection)
        return form


class Within(forms.TypedChoiceField):
    """How many seconds a revision stays on trial. Left out: a minute."""

    depends = True

    def __init__(self) -> None:
        super().__init__(
            choices=[(30, "30 seconds"), (60, "1 minute"), (120, "2 minutes"), (300, "5 minutes"), (600, "10 minutes")],
            coerce=int,
            required=False,
            label="Taken back by itself unless you keep it within",
        )

    def clean(self, value: Any) -> int:
        return int(super().clean(value) or 60)


class AgainForm(forms.Form):
    """The word to put a revision on trial, and how long to wait for the word to keep it."""

    why = why(required=False)
    confirm_within = Within()


class ApplyForm(AgainForm):
    """The same for all wishes: `seen` is the digest of the difference that was looked at."""

    seen = forms.CharField(max_length=64, widget=forms.HiddenInput)


class KeepForm(forms.Form):
    """The word to keep what is on trial: the nonce proves that the page was fetched through the new rules."""

    revision = forms.IntegerField(min_value=1, max_value=2**53, widget=forms.HiddenInput)
    nonce = forms.CharField(max_length=32, required=False, widget=forms.HiddenInput)


class StopForm(forms.Form):
    """The word to close everything but SSH."""

    why = why(error_messages={"required": "Say why in a few words: the others will ask."})


class CompareForm(forms.Form):
    """Two revisions by their numbers; 0 is what is wished now."""

    before = forms.TypedChoiceField(coerce=int, label="From")
    after = forms.TypedChoiceField(coerce=int, label="To")

    def __init__(self, *args: Any, numbers: list[tuple[int, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("before", "after"):
            cast(forms.TypedChoiceField, self.fields[name]).choices = numbers
