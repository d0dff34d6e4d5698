"""Can X reach Y, and why (not)? And the same for the whole site at once."""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from accounts.doors import UserRequest, actor_of, page
from dom0.errors import Refused
from firewall import probes, reach, rows
from firewall.explain import Answer, Explainer, Reason
from firewall.questions import SUGGESTED, QuestionForm, said
from firewall.specs import Site
from firewall.views.about import host_of, known_host
from firewall.views.policy import called, leg
from hosts.models import Host, Job
from machines.models import Machine
from ui.htmx import answer

PARTS = {"probe": "firewall/_probe.html"}


@page("firewall.view")
def explain(request: UserRequest) -> HttpResponse:
    """The question, its answer by the rules in force, and what applying would make of it."""
    host = host_of(request)
    if host is None:
        return render(request, "firewall/explain.html", {"host": None})
    return _explain(request, host, None)


def _explain(request: UserRequest, host: Host, refused: Refused | None) -> HttpResponse:
    live, site = rows.loaded(host)
    form = QuestionForm(request.GET if "source" in request.GET else None, host=host, site=site)
    names = dict(rows.machine_names(host))
    context: dict[str, Any] = {
        "host": host,
        "form": form,
        "live": live,
        "refused": refused,
        "machines": Machine.objects.filter(host=host).values_list("name", "address"),
        "parties": SUGGESTED,
        "own": [a.ip for a in site.addresses],
    }
    if form.is_bound and form.is_valid():
        context |= _answered(request, host, site, form, names)
    status = 409 if refused else 422 if form.is_bound and form.errors else 200
    return answer(request, "firewall/explain.html", PARTS, context, status=status)


def _answered(
    request: UserRequest, host: Host, site: Site, form: QuestionForm, names: dict[str, str]
) -> dict[str, Any]:
    question = form.question
    here = rows.vpn_address(host)
    now = Explainer(site, names, vpn_address=here).ask(question)
    wished = rows.site_of(host)
    then = Explainer(wished, names, vpn_address=here).ask(question) if wished != site else now
    what = "a ping" if question.proto == "icmp" else f"{question.proto} {question.port}"
    return {
        "answer": now,
        "reasons": [(reason, _url(host, reason)) for reason in now.reasons],
        "then": then if _differs(now, then) else None,
        "asked": f"{what} of {names.get(question.target, question.target)} from {said(question.source, names)}",
        "query": request.GET.urlencode(),
        "probe": _probe(request, host),
    }


def _differs(now: Answer, then: Answer) -> bool:
    return (now.reaches, now.arrives) != (then.reaches, then.arrives)


def _url(host: Host, reason: Reason) -> str:
    """The page of the object that decides; "" where it is nothing anybody edits."""
    if reason.kind == "service":
        return f"{reverse('firewall:services')}?{urlencode({'q': reason.name})}"
    if reason.kind == "restriction":
        return reverse("firewall:restrictions")
    if reason.kind == "custom":
        return reverse("firewall:customs")
    if reason.kind == "policy":
        source, _, target = reason.name.removeprefix("policy ").partition(" → ")
        return f"{reverse('firewall:policy')}?{urlencode({'source': source, 'target': target})}#cell"
    return ""


def _probe(request: UserRequest, host: Host) -> dict[str, Any] | None:
    """The probe this answer was asked to verify by, and what came of it."""
    number = request.GET.get("probe", "")
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        return None
    job = Job.objects.filter(pk=int(number), kind=probes.KIND, host=host).first()
    if job is None:
        return None
    arrived, words = probes.found(job)
    return {"job": job, "open": job.is_open, "arrived": arrived, "words": words}


@page("firewall.probe", methods=("POST",))
def probe(request: UserRequest) -> HttpResponse:
    """Have the host try it: the question stands in the query, as on the page."""
    host = known_host(request)
    _, site = rows.loaded(host)
    form = QuestionForm(request.GET, host=host, site=site)
    if not form.is_valid():
        return _explain(request, host, None)
    try:
        job = probes.ask(actor_of(request), host, site, form.question)
    except Refused as error:
        return _explain(request, host, error)
    query = request.GET.copy()
    query["probe"] = str(job.pk)
    return redirect(f"{reverse('firewall:explain')}?{query.urlencode()}")


@page("firewall.view")
def matrix(request: UserRequest) -> HttpResponse:
    """Who reaches whom, by the rules in force: what the policy, services, restrictions and own rules make together."""
    host = host_of(request)
    if host is None:
        return render(request, "firewall/reach.html", {"host": None})
    live, site = rows.loaded(host)
    found = _matrix(site, rows.vpn_address(host))
    parties = list(site.parties())
    by_source = {source: [r for r in found if r.source == source] for source in parties}
    context = {
        "host": host,
        "live": live,
        "legs": [(party, called(party)) for party in parties],
        "leg": (here := leg(request, site)),
        "row": [(called(r.target), r) for r in by_source.get(here, ()) if r.target != here],
        "columns": [called(p) for p in parties],
        "grid": [(called(source), cells) for source, cells in by_source.items()],
        "own_rules": site.custom,
    }
    return render(request, "firewall/reach.html", context)


@lru_cache(maxsize=4)
def _matrix(site: Site, vpn_address: str) -> tuple[reach.Reach, ...]:
    return reach.matrix(site, vpn_address=vpn_address)
