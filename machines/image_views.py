"""Images and what a new machine gets by default, for operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import Count, Max
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.datastructures import MultiValueDictKeyError

from accounts.doors import UserRequest, actor_of, page
from dom0.errors import Refused
from hosts.models import Host, Job
from machines import image_services, services, upload_spool
from machines.forms import DefaultsForm, ImageBuildForm, ImageForm, ImageImportForm, ImageUploadForm
from machines.models import Image, SiteDefaults


@page("image.view")
def images(request: UserRequest) -> HttpResponse:
    """The images of the host, which one is the default, and what else a new machine gets."""
    return show(request)


def show(
    request: UserRequest,
    image_form: ImageForm | None = None,
    defaults_form: DefaultsForm | None = None,
    import_form: ImageImportForm | None = None,
    build_form: ImageBuildForm | None = None,
    upload_form: ImageUploadForm | None = None,
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
        "import_form": import_form or (ImageImportForm(host=host, prefix="import") if host else None),
        "build_form": build_form or ImageBuildForm(prefix="build"),
        "upload_form": upload_form or ImageUploadForm(prefix="upload"),
        "uploads": host is not None and upload_spool.ready(host),
        "upload_most": upload_spool.most(),
        "upload_large": upload_spool.too_large(),
        "upload_kinds": f"{upload_spool.KINDS}, at most {settings.FRIDU_UPLOAD_GIB} GB.",
        "upload_last": upload_spool.LAST,
        "defaults_form": defaults_form or (DefaultsForm(instance=defaults) if defaults else None),
        "refused": refused,
    }
    wrong = any(
        form is not None and form.errors for form in (image_form, defaults_form, import_form, build_form, upload_form)
    )
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
        return show(request, image_form=form)
    try:
        image = services.image_add(actor_of(request), host=host, **form.cleaned_data)
    except ValidationError as error:
        form.take(error)
        return show(request, image_form=form)
    except Refused as error:
        return show(request, image_form=form, refused=error)
    messages.success(request, f"{image} is known now; its file is checked against the digest when it is first used.")
    return redirect("machines:images")


@page("image.make", methods=("POST",))
def image_import(request: UserRequest) -> HttpResponse:
    """Have the host make an image of a file of its imports folder."""
    host = Host.objects.first()
    if host is None:
        return show(request)
    form = ImageImportForm(request.POST, host=host, prefix="import")
    return _ask(request, form, "import_form", lambda **data: image_services.image_import(host=host, **data))


@page("image.make", methods=("POST",))
def image_build(request: UserRequest) -> HttpResponse:
    """Have the host build an image by mmdebstrap."""
    host = Host.objects.first()
    if host is None:
        return show(request)
    form = ImageBuildForm(request.POST, prefix="build")
    return _ask(request, form, "build_form", lambda **data: image_services.image_build(host=host, **data))


def _ask(request: UserRequest, form: Any, place: str, ask: Callable[..., Job]) -> HttpResponse:
    """The page of the job, or this page with what is wrong beside its field."""
    if not form.is_valid():
        return show(request, **{place: form})
    try:
        job = ask(actor=actor_of(request), **form.cleaned_data)
    except ValidationError as error:
        form.take(error)
        return show(request, **{place: form})
    except Refused as error:
        return show(request, refused=error)
    return redirect("hosts:job", job.pk)


@page("image.delete", methods=("POST",))
def image_delete(request: UserRequest, pk: int) -> HttpResponse:
    """Ask for the plan that removes an image; what depends on it is named."""
    image = get_object_or_404(Image, pk=pk)
    try:
        return redirect("hosts:job", image_services.image_delete(actor_of(request), image).pk)
    except Refused as error:
        return show(request, refused=error)


@page("image.kernel", methods=("POST",))
def image_kernel(request: UserRequest, pk: int) -> HttpResponse:
    """Have a kernel and its initrd taken out of an image, into the host's kernels folder."""
    image = get_object_or_404(Image, pk=pk)
    try:
        return redirect("hosts:job", image_services.image_kernel(actor_of(request), image, request.POST["kernel"]).pk)
    except MultiValueDictKeyError:
        return redirect("machines:images")
    except Refused as error:
        return show(request, refused=error)


@page("defaults.change", methods=("POST",))
def defaults_change(request: UserRequest) -> HttpResponse:
    """What a machine gets from now on where nobody says otherwise."""
    defaults = _defaults(Host.objects.first())
    if defaults is None:
        return show(request)
    form = DefaultsForm(request.POST, instance=defaults)
    if not form.is_valid():
        return show(request, defaults_form=form)
    try:
        services.defaults_change(actor_of(request), defaults.host, **form.changes())
    except ValidationError as error:
        form.take(error)
        return show(request, defaults_form=form)
    messages.success(request, "New machines get this from now on. Those that exist stay as they are.")
    return redirect("machines:images")
