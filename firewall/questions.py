"""What a person asks about reaching: typed words become a question, and a question becomes words again."""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from firewall.explain import Question
from firewall.specs import DOM0, ICMP, INTERNET, PROTOS, VPN, Site
from firewall.words import party
from hosts.models import Host
from machines.models import Machine
from ui.forms import TYPED

#: How the parties may be typed.
PARTIES = {"internet": INTERNET, "the internet": INTERNET, "admin vpn": VPN, "vpn": VPN, "dom0": DOM0}
SUGGESTED = ("Internet", "Admin VPN", "dom0")


class QuestionForm(forms.Form):
    """Can this reach that? A GET form: an answer has an address one can send on."""

    source = forms.CharField(
        label="From",
        max_length=40,
        widget=forms.TextInput(attrs={**TYPED, "list": "parties", "placeholder": "Internet"}),
        help_text="Internet, Admin VPN, dom0, or a machine by name or address.",
        error_messages={"required": "Say from where, for example Internet."},
    )
    target = forms.CharField(
        label="To",
        max_length=40,
        widget=forms.TextInput(attrs={**TYPED, "list": "targets", "placeholder": "a machine or an address"}),
        help_text="A machine, or an address: an external one, dom0's own, any on the Internet.",
        error_messages={"required": "Say whereto, for example a machine's name."},
    )
    proto = forms.ChoiceField(label="Protocol", choices=[*((p, p) for p in PROTOS), (ICMP, "ping")], initial="tcp")
    port = forms.IntegerField(
        label="Port",
        required=False,
        min_value=1,
        max_value=65535,
        widget=forms.TextInput(attrs={**TYPED, "inputmode": "numeric", "class": "mono"}),
        error_messages={
            "min_value": "Ports go from 1 to 65535.",
            "max_value": "Ports go from 1 to 65535.",
            "invalid": "Write a port such as 443.",
        },
    )

    def __init__(self, *args: Any, host: Host, site: Site, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.host, self.site = host, site

    def clean_source(self) -> str:
        text = self.cleaned_data["source"].strip()
        found = PARTIES.get(text.lower()) or self._address(text, "source")
        if found == VPN and self.site.vpn is None:
            raise ValidationError("This host has no admin VPN.")
        if found not in (INTERNET, VPN, DOM0) and self.site.zone_of(found) is None:
            raise ValidationError(f"{found} is in no zone. Ask from Internet, or from a machine.")
        return found

    def clean_target(self) -> str:
        text = self.cleaned_data["target"].strip()
        meant = PARTIES.get(text.lower())
        if meant in (INTERNET, VPN):
            raise ValidationError("Say which address there: the rules judge by it.")
        if meant == DOM0:
            own = next((a.ip for a in self.site.addresses), "")
            if not own:
                raise ValidationError("Say which of dom0's addresses: this host has no external one.")
            return own
        return self._address(text, "target")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("proto") != ICMP and not cleaned.get("port") and "port" not in self.errors:
            self.add_error("port", "Say which port, for example 443.")
        return cleaned

    @property
    def question(self) -> Question:
        """What was asked; the form is valid."""
        asked = self.cleaned_data
        port = 0 if asked["proto"] == ICMP else asked["port"]
        return Question(source=asked["source"], target=asked["target"], proto=asked["proto"], port=port)

    def _address(self, text: str, field: str) -> str:
        machine = Machine.objects.filter(host=self.host, name=text).first()
        if machine is not None:
            return str(machine.address)
        try:
            return str(IPv4Address(text))
        except AddressValueError:
            raise ValidationError(f"No machine is called {text}, and it is no address such as 10.10.1.2.") from None


def said(source: str, names: dict[str, str]) -> str:
    """A party or an address within a sentence."""
    return names.get(source) or party(source)
