"""Machines in the browser: thin doors to machines.services, each object fetched with its access."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db.models import Case, Q, Value, When
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.debug import sensitive_variables

from accounts.access import RULES
from accounts.doors import UserRequest, actor_of, page
from accounts.models import Owner
from dom0.errors import Refused
from hosts.models import Host, Job
from machines import bulks, graphs, limit_words, services
from machines.forms import CreateForm, DeleteForm, KeysForm
from machines.history import histories
from machines.limits_services import limits_of
from machines.listing import LABELS, Filter, listing
from machines.models import Figures, Machine, SiteDefaults
from machines.scenes import Scene, lent, scenes, volumes_of
from machines.specs import short_digest
from machines.states import doing
from machines.tabs import framed
from ui.htmx import answer, wants
from zones.models import Zone

MINE_PER_PAGE = 20
HISTORY = 8
LATELY = 3


def machine_for(request: UserRequest, pk: int, action: str) -> Machine:
    """The machine, where the viewer may do `action` on it.

    Raises Http404 for one the viewer may not see, PermissionDenied for one seen on which `action` is not theirs.
    """
    parts = Machine.objects.select_related("host", "zone__external", "owner", "image")
    machine = parts.visible_to(request.user, action).filter(pk=pk).first()
    if machine is None:
        seen = get_object_or_404(parts.visible_to(request.user), pk=pk)
        raise PermissionDenied(
            f"You may see {seen.name}, but not {RULES[action].says.replace('a machine', 'it')}. "
            f"That is for {seen.owner}, whose it is, and for the operators."
        )
    return machine


@page("machine.view")
def list_(request: UserRequest) -> HttpResponse:
    """Every machine, those in trouble first; whoever is no operator has a page of their own."""
    if not request.user.is_operator:
        return redirect("machines:mine")
    shown = listing(Machine.objects.visible_to(request.user), Filter.of(request.GET), request.GET.get("page"))
    states = [(key, label) for key, label in LABELS.items() if key]
    context = {"unknown": unknown_count(), "list": shown, "states": states}
    return answer(request, "machines/list.html", {"rows": "machines/_rows.html"}, context)


def unknown_count() -> int:
    """How many machines the hosts have that are not in the panel."""
    return sum(len(figures.get("unknown", ())) for figures in Host.objects.values_list("figures", flat=True))


@page("machine.view")
def mine(request: UserRequest) -> HttpResponse:
    """The viewer's machines: how they are, how to get in, what can be done."""
    if request.user.is_operator:
        return redirect("machines:list")
    machines = Machine.objects.visible_to(request.user).select_related("host", "zone", "owner", "image")
    own = Owner.objects.filter(Q(person=request.user) | Q(members=request.user))
    lent = Case(When(owner__in=own, then=Value(0)), default=Value(1))
    machines = graphs.with_used(machines).prefetch_related("ssh_keys__user")
    machines = machines.annotate(lent=lent).order_by("lent", "name")
    page_ = Paginator(machines, MINE_PER_PAGE).get_page(request.GET.get("page"))
    seen = scenes(request.user, list(page_.object_list))
    states = "+".join(scene.digest for scene in seen)
    used = [graphs.short(scene.machine) for scene in seen]
    digest = f"{states}~{short_digest(repr(used))}"
    before = request.GET.get("seen", "")
    if wants(request) == "cards" and before == digest:
        return HttpResponse(status=204)
    lately = histories([scene.machine for scene in seen], LATELY)
    context = {
        "page": page_,
        "cards": [(scene, lately[scene.machine.pk], use) for scene, use in zip(seen, used, strict=True)],
        "digest": digest,
        "keys": request.user.ssh_keys.all(),
        "working": any(scene.working for scene in seen),
        # New figures alone are no news for whoever listens.
        "fragment": wants(request) == "cards" and before.partition("~")[0] != states,
        "stale": next((scene.machine.host for scene in seen if scene.stale), None),
    }
    return answer(request, "machines/mine.html", {"cards": "machines/_cards.html"}, context)


@page("machine.view")
def detail(request: UserRequest, pk: int) -> HttpResponse:
    """One machine; its live part asks again every two seconds and is sent only when it reads differently."""
    try:
        machine = machine_for(request, pk, "machine.view")
    except Http404:
        if wants(request) != "live":
            raise
        # A page that is open on a machine which is no more: show that once, instead of asking for ever.
        gone = HttpResponse(status=404)
        gone["HX-Redirect"] = reverse("machines:detail", args=(pk,))
        return gone
    return _show(request, machine)


def _show(request: UserRequest, machine: Machine, form: KeysForm | None = None, status: int = 200) -> HttpResponse:
    (scene,) = scenes(request.user, [machine])
    keys = list(machine.ssh_keys.select_related("user"))
    context = {**framed(request.user, scene, "detail"), "keys": keys}
    context["standing"] = scene.standing(keys)
    if scene.offers.key:
        context["form"] = form or KeysForm(machine=machine, user=request.user)
    if wants(request) == "live":
        return _live(request, scene, context)
    context["lent"] = lent(machine)
    limits = limit_words.said(limits_of(machine))
    context["limited"] = [f"{limit_words.LABELS[name]} {text}" for name, text in limits.items()]
    context["use"] = graphs.use(machine, Figures.objects.filter(machine=machine).defer("day").first())
    context["lines"] = histories([machine], HISTORY)[machine.pk]
    return answer(request, "machines/detail.html", {}, context, status=status)


def _live(request: UserRequest, scene: Scene, context: dict[str, Any]) -> HttpResponse:
    """The live part, with the cards below it where those read differently too; 204 where nothing does."""
    moved = request.GET.get("standing", context["standing"]) != context["standing"]
    if request.GET.get("seen") == scene.digest and not moved:
        return HttpResponse(status=204)
    response = answer(request, "machines/_live.html", {}, context | {"fragment": True, "moved": moved})
    # The history listens for it.
    response["HX-Trigger"] = "machine-changed"
    return response


@page("machine.view")
def history(request: UserRequest, pk: int) -> HttpResponse:
    """What was done to a machine, as a fragment of its page."""
    machine = machine_for(request, pk, "machine.view")
    lines = histories([machine], HISTORY)[machine.pk]
    return answer(request, "machines/_history.html", {}, {"lines": lines, "machine": machine})


@page("machine.create", methods=("GET", "POST"))
def create(request: UserRequest) -> HttpResponse:
    """A new machine from a name and an address; its plan is shown on the job's page before anything happens."""
    asked = request.POST if request.method == "POST" else request.GET
    defaults = SiteDefaults.objects.select_related("image", "host").order_by("host").first()
    if request.method == "GET" or "look" in asked:
        # Also another owner's keys asked for without script: what was typed stays, nothing is judged yet.
        own = Owner.objects.filter(person=request.user).values_list("pk", flat=True).first()
        form = CreateForm(initial={"owner": own, **asked.dict()}, user=request.user, defaults=defaults)
        return _create_page(request, form, defaults)
    form = CreateForm(asked, user=request.user, defaults=defaults)
    refused: Refused | None = None
    if form.is_valid():
        try:
            return redirect("hosts:job", _create(request, form).pk)
        except ValidationError as error:
            form.take(error)
        except Refused as error:
            refused = error
    return _create_page(request, form, defaults, refused)


def _create(request: UserRequest, form: CreateForm) -> Job:
    wish = form.wish()
    return services.machine_create(actor_of(request), host=wish["zone"].host, **wish)


def _create_page(
    request: UserRequest, form: CreateForm, defaults: SiteDefaults | None, refused: Refused | None = None
) -> HttpResponse:
    form.focus()
    zones = list(Zone.objects.select_related("host")[:8])
    free = [(zone, services.free_addresses(zone, 3)) for zone in zones]
    context = {"form": form, "defaults": defaults, "free": free, "refused": refused}
    status = 409 if refused else 422 if form.errors else 200
    return answer(request, "machines/create.html", {"keys": "machines/_keys.html"}, context, status=status)


Service = Callable[..., Job]


def ask(request: UserRequest, pk: int, action: str, service: Service) -> HttpResponse:
    """Ask for a job on a machine, say so, go back to where the button was."""
    machine = machine_for(request, pk, action)
    try:
        job = service(actor_of(request), machine)
        messages.success(request, _asked(machine, job))
    except Refused as error:
        messages.error(request, f"{error.message} {error.note}".strip())
    if request.POST.get("back") == "mine":
        return redirect("machines:mine")
    return redirect("machines:detail", pk)


def _asked(machine: Machine, job: Job) -> str:
    said = f"{doing(job).noun[0].upper()}{doing(job).noun[1:]} of {machine.name} asked for."
    if machine.host.fresh:
        return said
    return f"{said} {machine.host} does not answer now; it is done when its worker is back."


@page("machine.start", methods=("POST",))
def start(request: UserRequest, pk: int) -> HttpResponse:
    return ask(request, pk, "machine.start", services.machine_start)


@page("machine.stop", methods=("POST",))
def stop(request: UserRequest, pk: int) -> HttpResponse:
    force = request.POST.get("force") == "yes"
    return ask(request, pk, "machine.stop", partial(services.machine_stop, force=force))


@page("machine.reboot", methods=("POST",))
def reboot(request: UserRequest, pk: int) -> HttpResponse:
    return ask(request, pk, "machine.reboot", services.machine_reboot)


@page("machine.key", methods=("POST",))
def key(request: UserRequest, pk: int) -> HttpResponse:
    """Put exactly the chosen SSH keys on the machine."""
    machine = machine_for(request, pk, "machine.key")
    form = KeysForm(request.POST, machine=machine, user=request.user)
    if not form.is_valid():
        return _show(request, machine, form, status=422)
    return ask(
        request,
        pk,
        "machine.key",
        lambda actor, machine: services.machine_key(actor, machine, list(form.cleaned_data["ssh_keys"])),
    )


@page("machine.password", methods=("POST",))
@sensitive_variables("password")
def password(request: UserRequest, pk: int) -> HttpResponse:
    """A one-time root password: on this very page and nowhere else, not in a URL, a message, the log or the audit."""
    machine = machine_for(request, pk, "machine.password")
    try:
        password, job = services.machine_password(actor_of(request), machine)
    except Refused as error:
        messages.error(request, f"{error.message} {error.note}".strip())
        return redirect("machines:detail", pk)
    (scene,) = scenes(request.user, [machine])
    response = render(request, "machines/password.html", {"scene": scene, "password": password, "job": job})
    response["Cache-Control"] = "no-store, private"
    return response


@page("machine.delete", methods=("GET", "POST"))
def delete(request: UserRequest, pk: int) -> HttpResponse:
    """What is lost with the machine, and its name once more; then the plan on the job's page."""
    machine = machine_for(request, pk, "machine.delete")
    posted = request.method == "POST"
    form = DeleteForm(request.POST if posted else None, machine=machine)
    refused: Refused | None = None
    if posted and form.is_valid():
        try:
            job = services.machine_delete(actor_of(request), machine, reason=form.cleaned_data["reason"])
            return redirect("hosts:job", job.pk)
        except Refused as error:
            refused = error
    (scene,) = scenes(request.user, [machine])
    goes = {"kept": machine.snapshots.all(), "lent": lent(machine), "volumes": volumes_of(machine)}
    context = {"form": form, "scene": scene, "machine": machine, "refused": refused, **goes}
    status = 409 if refused else 422 if form.errors else 200
    return render(request, "machines/delete.html", context, status=status)


@page("machine.start", methods=("POST",))
def bulk(request: UserRequest) -> HttpResponse:
    """Start, stop or restart several: first a page that names each, then, confirmed, one job each."""
    what = bulks.BULKS.get(request.POST.get("do", ""))
    ids = [
        int(pk) for pk in request.POST.getlist("id")[: bulks.LIMIT] if pk.isascii() and pk.isdigit() and len(pk) < 10
    ]
    if what is None or not ids:
        messages.warning(request, "Choose at least one machine, then what to do with them.")
        return redirect("machines:list")
    machines = Machine.objects.visible_to(request.user, what.action).filter(pk__in=ids)
    chosen = scenes(request.user, list(machines.select_related("host", "zone", "owner").order_by("name")))
    parts = what.sort(chosen)
    if "confirmed" not in request.POST:
        return render(request, "machines/bulk.html", {"what": what, "parts": parts})
    asked, refused = what.ask(actor_of(request), parts.do, request.POST.get("reason", "").strip()[:200])
    if asked:
        messages.success(request, f"{what.noun} asked for: {', '.join(asked)}.")
    for refusal in refused:
        messages.error(request, refusal)
    return redirect("machines:list")
