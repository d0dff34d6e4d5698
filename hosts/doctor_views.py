"""A host's diagnosis in the browser."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect

from accounts.doors import UserRequest, actor_of, page
from dom0.errors import Refused
from hosts import diagnosis
from hosts import doctor as service
from hosts.models import Host
from ui.htmx import answer, wants


@page("host.doctor", methods=("GET", "POST"))
def doctor(request: UserRequest, pk: int) -> HttpResponse:
    """What the last look at the host found; a POST has it look again."""
    host = get_object_or_404(Host, pk=pk)
    if request.method == "POST":
        try:
            service.host_doctor(actor_of(request), host)
        except Refused as error:
            messages.error(request, f"{error.message} {error.note}".strip())
        return redirect("hosts:doctor", pk)
    job = diagnosis.latest(service.KIND, "host", host.pk)
    context = {**diagnosis.scene(job), "host": host, "asks": [ask for _, ask in service.LOOKS]}
    if wants(request) == "diagnosis" and request.GET.get("seen") == context["seen"]:
        return HttpResponse(status=204)
    return answer(request, "hosts/doctor.html", {"diagnosis": "hosts/_diagnosis.html"}, context)
