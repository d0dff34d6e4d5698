"""Images and what a new machine gets by default, for operators."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import Count, Max
from django.http import HttpResponse
from django.shortcuts import redirect, render

from accounts.doors import UserRequest, actor_of, page
from dom0.errors import Refused
from hosts.models import Host
from machines import services
from machines.forms import DefaultsForm, ImageForm
from machines.models import Image, SiteDefaults


@page("image.view")
def images(request: UserRequest) -> HttpResponse:
    """The images of the host, which one is the default, and what else a new machine gets."""
    return _show(request)


def _show(
    request: UserRequest,
    image_form: ImageForm | None = None,
    defaults_form: DefaultsForm | None = None,
    refused: Refused | None = None,
) -> HttpResponse:
    host = Host.objects.first()
    defaults = _defaults(host)
    found = Image.objects.select_related("host").annotate(used=Count("machines"), newest=Max("machines__created"))
    context: dict[str, Any] = {
        "images": found,
        "host": host,
        "defaults": defaults,
        "image_form": image_form or ImageForm(host=host),
        "defaults_form": defaults_form or (DefaultsForm(instance=defaults) if defaults else None),
        "refused": refused,
    }
    wrong = any(form is not None and form.errors for form in (image_form, defaults_form))
    return render(request, "machines/images.html", context, status=409 if refused else 422 if wrong else 200)


def _defaults(host: Host | None) -> SiteDefaults | None:
    """The host's defaults, not saved yet where nobody has changed them."""
    if host is None:
        return None
    return SiteDefaults.objects.select_related("image").filter(host=host).first() or SiteDefaults(host=host)


@page("image.add", methods=("POST",))
def image_add(request: UserRequest) -> HttpResponse:
    """Make an archive in the host's images folder known."""
    host = Host.objects.first()
    form = ImageForm(request.POST, host=host)
    if host is None or not form.is_valid():
        return _show(request, image_form=form)
    try:
        image = services.image_add(actor_of(request), host=host, **form.cleaned_data)
    except ValidationError as error:
        form.take(error)
        return _show(request, image_form=form)
    except Refused as error:
        return _show(request, image_form=form, refused=error)
    messages.success(request, f"{image} is known now; its file is checked against the digest when it is first used.")
    return redirect("machines:images")


@page("defaults.change", methods=("POST",))
def defaults_change(request: UserRequest) -> HttpResponse:
    """What a machine gets from now on where nobody says otherwise."""
    defaults = _defaults(Host.objects.first())
    if defaults is None:
        return _show(request)
    form = DefaultsForm(request.POST, instance=defaults)
    if not form.is_valid():
        return _show(request, defaults_form=form)
    try:
        services.defaults_change(actor_of(request), defaults.host, **form.cleaned_data)
    except ValidationError as error:
        form.take(error)
        return _show(request, defaults_form=form)
    messages.success(request, "New machines get this from now on. Those that exist stay as they are.")
    return redirect("machines:images")
