"""What people type about the admin VPN's peers."""

from __future__ import annotations

from typing import Any

from django import forms

from accounts.models import User
from hosts.models import Host
from ui.forms import TYPED, Taking
from zones.forms import ZoneForm
from zones.models import peer_grammar
from zones.vpn import free_address


class PeerForm(Taking, forms.Form):
    """A new peer: whose, by which certificate, at which address."""

    host = forms.ModelChoiceField(Host.objects.all(), empty_label=None)
    user = forms.ModelChoiceField(
        User.objects.filter(is_active=True).order_by("username"),
        empty_label=None,
        help_text="When this user is deactivated, the peer is revoked with them.",
    )
    name = forms.CharField(
        max_length=39,
        validators=[peer_grammar],
        error_messages={
            "required": "Give it its certificate’s common name, for example fulup-laptop.",
            "max_length": "A peer’s name has at most 39 characters; this one has %(show_value)d.",
        },
        help_text="The common name of the certificate your own authority signs: small letters, digits and hyphens.",
        widget=forms.TextInput(attrs={**TYPED, "class": "mono"}),
    )
    address = forms.CharField(
        required=False,
        max_length=15,
        help_text="It gets this one always, and can speak from no other. Left empty: the next free one.",
        widget=forms.TextInput(attrs={**TYPED, "inputmode": "decimal", "class": "mono"}),
    )
    reason = ZoneForm.base_fields["reason"]

    def __init__(self, *args: Any, hosts: list[Host], **kwargs: Any) -> None:
        """`hosts`: those with an admin VPN."""
        super().__init__(*args, **kwargs)
        self.fields["host"].queryset = Host.objects.filter(pk__in=[host.pk for host in hosts])  # type: ignore[attr-defined]
        if len(hosts) == 1:
            self.initial.setdefault("host", hosts[0])
            self.initial.setdefault("address", free_address(hosts[0]))
            self.fields["host"].widget = forms.HiddenInput()


class RevokeForm(forms.Form):
    """Why a peer is shut out."""

    reason = ZoneForm.base_fields["reason"]
