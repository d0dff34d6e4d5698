"""The log in the panel. The policy table stands above this room: fridu_site puts its door before these views."""

from __future__ import annotations

import time
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from audit import show
from audit.forms import FilterForm
from audit.management.commands.audit import says
from audit.models import Entry, Head
from audit.verify import verify
from ui.htmx import answer


def log(request: HttpRequest) -> HttpResponse:
    """The entries, newest first; older ones by the number they come before."""
    form = FilterForm(request.GET)
    chosen = form.chosen()
    before = chosen.pop("before", None)
    entries = show.filtered(chosen)
    if before:
        entries = entries.filter(seq__lt=before)
    found = list(entries[: show.PER_PAGE + 1])
    query = urlencode({key: str(value) for key, value in chosen.items()})
    context = {
        "form": form,
        "chosen": chosen,
        "lines": show.lines(found[: show.PER_PAGE]),
        "older": found[show.PER_PAGE - 1].seq if len(found) > show.PER_PAGE else None,
        "before": before,
        "query": query,
        "names": show.names(),
        "actions": show.actions(),
        "head": Head.objects.filter(id=1).first(),
    }
    return answer(request, "audit/log.html", {"rows": "audit/_lines.html"}, context)


def entry(request: HttpRequest, seq: int) -> HttpResponse:
    """One entry, every field of it."""
    found = get_object_or_404(Entry, seq=seq)
    return render(request, "audit/entry.html", {"line": show.line(found)})


def check(request: HttpRequest) -> HttpResponse:
    """Walk the chain now and say what was found."""
    began = time.monotonic()
    verdict = verify()
    say = messages.success if verdict.holds else messages.error
    say(request, f"{says(verdict)} Checked just now, in {time.monotonic() - began:.1f} s.")
    return redirect("audit:log")
