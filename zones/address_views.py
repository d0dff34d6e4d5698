"""External addresses in the browser: which there are, whether they are on their cards, one more, one less."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from accounts.doors import UserRequest, actor_of, page
from dom0.added import Added
from dom0.errors import Refused
from hosts.models import Host
from zones import addresses as services
from zones.dependents import dependents_of
from zones.forms import AddressForm, DeleteForm
from zones.models import ExternalAddress, NetworkSeen


@dataclass(frozen=True, kw_only=True)
class Row:
    """An external address as its list shows it."""

    row: ExternalAddress
    missing: bool
    ours: bool  # Fridu put it there, and can take it off
    mend: str  # the command by hand, where Fridu may not put a missing one there itself

    @property
    def card(self) -> str:
        return f"{self.row.host_id}:{self.row.nic}"


@page("zone.view")
def addresses(request: UserRequest) -> HttpResponse:
    """Every public address: whether it is on its card, who goes out by it, what is published on it."""
    found = list(ExternalAddress.objects.select_related("host").prefetch_related("zones", "services"))
    gone = services.missing(found)
    added = {seen.host_id: seen.added for seen in NetworkSeen.objects.all()}
    rows = [
        Row(
            row=row,
            missing=row.pk in gone,
            ours=row.address in added.get(row.host_id, {}),
            mend="" if services.may_add(row.host, row.nic, row.address) else _command(row),
        )
        for row in found
    ]
    context = {
        "rows": rows,
        "seen": bool(added),
        "has_host": Host.objects.exists(),
        "gone": [row.address for row in found if row.pk in gone],
    }
    return render(request, "zones/addresses.html", context)


def _command(row: ExternalAddress) -> str:
    return Added(nic=row.nic, address=row.address).by_hand


@page("address.add", methods=("GET", "POST"))
def add(request: UserRequest) -> HttpResponse:
    """One more external address; its plan is shown on the job's page before anything happens."""
    posted = request.POST if request.method == "POST" else None
    form = AddressForm(posted, initial={name: request.GET.get(name, "") for name in ("card", "address")})
    refused: Refused | None = None
    if form.is_valid():
        try:
            return redirect("hosts:job", services.address_add(actor_of(request), **form.wish).pk)
        except ValidationError as error:
            form.take(error)
        except Refused as error:
            refused = error
    status = 409 if refused else 422 if form.errors else 200
    return render(request, "zones/address_add.html", {"form": form, "refused": refused}, status=status)


@page("address.remove", methods=("GET", "POST"))
def remove(request: UserRequest, pk: int) -> HttpResponse:
    """What uses an address; with nothing left, its way off the card."""
    row = get_object_or_404(ExternalAddress.objects.select_related("host"), pk=pk)
    form = DeleteForm(request.POST if request.method == "POST" else None)
    refused: Refused | None = None
    try:
        services.refuse_needed(row)
        if form.is_valid():
            return redirect("hosts:job", services.address_remove(actor_of(request), row, **form.cleaned_data).pk)
    except Refused as error:
        refused = error
    context = {"row": row, "form": form, "refused": refused, "standing": dependents_of(row)}
    status = 409 if refused and request.method == "POST" else 200
    return render(request, "zones/address_remove.html", context, status=status)
