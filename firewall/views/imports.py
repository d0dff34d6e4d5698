"""The files of an older box: read, explained line by line, then taken over."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse

from accounts.client import client_address
from accounts.doors import UserRequest, actor_of, page
from dom0.errors import Refused
from firewall import bundles, imports
from firewall.bundles import BundleReport
from firewall.findings import Severity
from firewall.import_forms import ImportForm, bundle_of
from firewall.takeover.content import CALLED
from firewall.views.about import known_host
from hosts.kinds import kind_of
from hosts.models import Host
from machines import expected
from machines.models import Expected

LOOK = {Severity.ERROR: "bad", Severity.WARNING: "wait", Severity.INFO: "run"}
WORD = {Severity.ERROR: "needs review", Severity.WARNING: "look at it", Severity.INFO: "understood"}


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a file somebody has to read, with what is said about it."""

    file: str
    number: int
    text: str
    said: tuple[tuple[str, str, str], ...]


@page("firewall.import", methods=("GET", "POST"))
def import_(request: UserRequest) -> HttpResponse:
    """First look, nothing saved; then, confirmed, the wishes."""
    host = known_host(request)
    form = ImportForm(request.POST or None, request.FILES or None)
    report: BundleReport | None = None
    refused: Refused | None = None
    if form.is_valid():
        files, answers, exact = form.cleaned_data["files"], _answers(request), form.cleaned_data["exact"]
        report = bundles.preview(host, files, answers=answers, exact=exact, viewer=client_address(request))
        if request.POST.get("do") == "import":
            try:
                done = bundles.take_over(actor_of(request), host, files, answers=answers, exact=exact)
                _tell(request, done)
                return redirect("firewall:changes")
            except Refused as error:
                refused = error
    status = 409 if refused else 422 if form.errors else 200
    return render(request, "firewall/import.html", _context(request, host, form, report, refused), status=status)


@page("firewall.import", methods=("POST",))
def review_done(request: UserRequest) -> HttpResponse:
    """The lines the last import left are dealt with."""
    host = known_host(request)
    imports.review_done(actor_of(request), host)
    messages.success(request, "Noted. The log keeps the lines.")
    return redirect(f"{reverse('firewall:import')}?host={host.name}")


@page("machine.expect", methods=("POST",))
def unkeep(request: UserRequest, pk: int) -> HttpResponse:
    """Keep the entry of a former box's machine no longer."""
    entry = get_object_or_404(Expected.objects.select_related("host", "zone"), pk=pk)
    try:
        job = expected.entry_remove(actor_of(request), entry)
    except Refused as error:
        messages.error(request, f"{error.message} {error.note}")
        return redirect("firewall:import")
    return redirect("hosts:job", job.pk)


def _context(
    request: UserRequest, host: Host, form: ImportForm, report: BundleReport | None, refused: Refused | None
) -> dict[str, object]:
    context: dict[str, object] = {"host": host, "form": form, "report": report, "refused": refused}
    if report is None:
        context["review"] = imports.review_of(host)
        context["kept"] = Expected.objects.filter(host=host).select_related("zone")
        return context
    rules = report.rules
    asked = [(name, _is_card(host, report, name)) for name in rules.asked]
    known = {name: value for name, value in _answers(request).items() if name not in rules.asked}
    context |= {
        "bundle": bundle_of(form.cleaned_data["files"]),
        "files": [(name, CALLED[kind]) for name, kind in report.box.files],
        "lines": _lines(report),
        "asked": asked,
        "answers": known,
        "addresses": [a for nic in host.facts.get("nics", ()) for a in nic.get("addresses", ())],
        "cards": [nic["name"] for nic in host.facts.get("nics", ())],
        # A zone whose address is still asked for would be made isolated, and stand in the way of the answer.
        "ready": report.does_something and not rules.clashes and not rules.asked,
    }
    return context


def _is_card(host: Host, report: BundleReport, name: str) -> bool:
    return any(address.nic == name for address in report.rules.site.addresses)


def _answers(request: UserRequest) -> dict[str, str]:
    """Addresses and cards typed for placeholders: answer_NAME=VALUE."""
    given = {key: str(value).strip()[:15] for key, value in request.POST.items() if key.startswith("answer_")}
    return {key.removeprefix("answer_"): value for key, value in given.items() if value}


def _lines(report: BundleReport) -> list[Line]:
    return [
        Line(
            file=said.file,
            number=said.number,
            text=said.text,
            said=tuple((LOOK[f.severity], WORD[f.severity], f.sentence) for f in said.findings),
        )
        for said in report.lines
    ]


def _tell(request: UserRequest, done: BundleReport) -> None:
    rules = done.rules
    count = len(done.made) + len(rules.changed) + (len(rules.gone) if rules.exact else 0)
    messages.success(request, f"Imported: {count} object{'' if count == 1 else 's'}. Nothing is on the host yet.")
    waiting = [job.title for job in done.jobs if kind_of(job.kind).approval != "none"]
    if waiting:
        says = f"Zones and machines come first, each waits for your approval: {', '.join(waiting)}."
        messages.info(request, says)
    if len(waiting) < len(done.jobs):
        messages.info(request, "Own rules are being tried on the host; they are saved when they load.")
    if rules.review:
        many = len(rules.review)
        messages.info(
            request, f"{many} line{'' if many == 1 else 's'} still need{'s' if many == 1 else ''} review; see Import."
        )
