"""A rule file of the old scripts: read, explained line by line, then taken over."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render

from accounts.doors import UserRequest, actor_of, page
from dom0.errors import Refused
from firewall import imports
from firewall.findings import Finding, Severity
from firewall.forms import ImportForm
from firewall.imports import ImportReport
from firewall.views.about import known_host

LOOK = {Severity.ERROR: "bad", Severity.WARNING: "wait", Severity.INFO: "run"}
WORD = {Severity.ERROR: "left out", Severity.WARNING: "look at it", Severity.INFO: "understood"}


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the file somebody has to read, with what is said about it."""

    number: int
    text: str
    said: tuple[tuple[str, str, str], ...]


@page("firewall.import", methods=("GET", "POST"))
def import_(request: UserRequest) -> HttpResponse:
    """First look, nothing saved; then, confirmed, the wishes."""
    host = known_host(request)
    form = ImportForm(request.POST or None, request.FILES or None)
    report: ImportReport | None = None
    refused: Refused | None = None
    if form.is_valid():
        text, answers = form.cleaned_data["text"], _answers(request)
        report = imports.preview(host, text, answers=answers)
        if request.POST.get("do") == "import":
            try:
                done = imports.import_rules(actor_of(request), host, text, answers=answers)
                _tell(request, done)
                return redirect("firewall:changes")
            except Refused as error:
                refused = error
    context = {
        "host": host,
        "form": form,
        "report": report,
        "text": form.cleaned_data.get("text", "") if form.is_bound and report else "",
        "lines": _lines(form.cleaned_data["text"], report.findings) if report else [],
        "answers": _answers(request),
        "refused": refused,
    }
    status = 409 if refused else 422 if form.errors else 200
    return render(request, "firewall/import.html", context, status=status)


def _answers(request: UserRequest) -> dict[str, str]:
    """Addresses typed for placeholders: answer_NAME=ADDRESS."""
    given = {key: str(value).strip()[:15] for key, value in request.POST.items() if key.startswith("answer_")}
    return {key.removeprefix("answer_"): value for key, value in given.items() if value}


def _lines(text: str, findings: tuple[Finding, ...]) -> list[Line]:
    source = text.replace("\r\n", "\n").split("\n")
    by_line: dict[int, list[Finding]] = {}
    for finding in findings:
        by_line.setdefault(finding.line, []).append(finding)
    return [
        Line(
            number=number,
            text=source[number - 1].strip(),
            said=tuple((LOOK[f.severity], WORD[f.severity], f.sentence) for f in found),
        )
        for number, found in sorted(by_line.items())
    ]


def _tell(request: UserRequest, done: ImportReport) -> None:
    count = len(done.made)
    messages.success(request, f"Imported: {count} object{'' if count == 1 else 's'}. Nothing is on the host yet.")
    if done.jobs:
        waiting = ", ".join(job.title for job in done.jobs)
        messages.info(request, f"Zones come first, each waits for your approval: {waiting}.")
