"""The operators' own rules before and after the compiled ones: the list, adding and changing (tried on the
host first), removing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse

from accounts.doors import UserRequest, actor_of, page
from dom0.errors import Refused
from firewall import own_rules
from firewall.forms import CustomForm
from firewall.held import own_rules as held
from firewall.models import CustomRule
from firewall.views.about import host_of, known_host
from hosts.models import Job
from ui.htmx import answer, go_to

PARTS = {"tried": "firewall/_tried.html"}


@page("firewall.view")
def list_(request: UserRequest) -> HttpResponse:
    """Every own rule by its place, in the order in which packets meet them."""
    host = host_of(request)
    places = held(host) if host else ()
    context = {"host": host, "places": places, "any": any(heap.held for heap in places)}
    return render(request, "firewall/customs.html", context)


@page("policy.change", methods=("GET", "POST"))
def add(request: UserRequest) -> HttpResponse:
    """A new rule of the operator's own: the host tries it, and only what loads is saved."""
    host = known_host(request)
    form = CustomForm(request.POST or None, initial={"place": request.GET.get("place", "")})
    context = {"host": host, "action": reverse("firewall:custom")}
    return _asked(request, form, lambda: own_rules.custom_add(actor_of(request), host, **form.cleaned_data), context)


@page("policy.change", methods=("GET", "POST"))
def change(request: UserRequest, pk: int) -> HttpResponse:
    """Another text, reason or end for a rule that is there; it holds as it is until the host has tried the new one."""
    row = get_object_or_404(CustomRule.objects.select_related("host"), pk=pk)
    form = CustomForm(request.POST or None, initial=CustomForm.typed(own_rules.Wanted.of(row)))
    context = {"host": row.host, "action": _form_of(row.pk), "changed": row}
    return _asked(request, form, lambda: own_rules.custom_change(actor_of(request), row, **form.cleaned_data), context)


def _asked(request: UserRequest, form: CustomForm, ask: Callable[[], Job], context: dict[str, Any]) -> HttpResponse:
    """The form, or on to the trial of what it says; refused, with the reason on it."""
    refused: Refused | None = None
    if form.is_valid():
        try:
            return redirect("firewall:custom_tried", ask().pk)
        except ValidationError as error:
            form.take(error)
        except Refused as error:
            refused = error
    form.focus()
    status = 409 if refused else 422 if form.errors else 200
    return render(request, "firewall/custom.html", {**context, "form": form, "refused": refused}, status=status)


def _form_of(pk: int) -> str:
    return reverse("firewall:custom_change", args=[pk])


@page("policy.change")
def tried(request: UserRequest, pk: int) -> HttpResponse:
    """What became of the trial of a new rule: saved, still on its way, or why it does not load."""
    job = get_object_or_404(Job.objects.select_related("host"), pk=pk, kind=own_rules.KIND)
    if job.state in (Job.State.DONE, Job.State.NOTHING):
        messages.success(request, f"Your rule loads and is {_done(job)}. It takes effect when you apply.")
        for each in own_rules.wanted_of(job):
            for says in own_rules.remarks(job.host, each):
                messages.warning(request, says)
        return go_to(request, reverse("firewall:customs"))
    wanted = own_rules.wanted_of(job)
    context: dict[str, Any] = {"job": job, "wanted": wanted, "host": job.host}
    if job.state in Job.OPEN:
        return answer(request, "firewall/custom_tried.html", PARTS, context)
    if request.headers.get("HX-Request"):
        return go_to(request, request.get_full_path())
    form = CustomForm.again(wanted[0], job.message or "It does not load.")
    form.focus()
    former = CustomRule.objects.filter(pk=job.args.get("instead")).first()
    action = _form_of(former.pk) if former else f"{reverse('firewall:custom')}?host={job.host.name}"
    context |= {"form": form, "action": action, "changed": former}
    return render(request, "firewall/custom.html", context)


def _done(job: Job) -> str:
    return "changed" if "instead" in job.args else "saved"


@page("policy.change", methods=("POST",))
def remove(request: UserRequest, pk: int) -> HttpResponse:
    """Take an operator's own rule out of the wishes."""
    own_rules.custom_remove(actor_of(request), get_object_or_404(CustomRule, pk=pk))
    messages.success(request, "The rule is taken out. It goes when you apply.")
    return redirect("firewall:customs")
