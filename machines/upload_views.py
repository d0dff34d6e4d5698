"""The upload of an image's archive, for operators."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.views.decorators.csrf import csrf_exempt, csrf_protect

from accounts.doors import UserRequest, actor_of, page
from hosts.models import Host
from machines import image_services, upload_spool
from machines.forms import ImageUploadForm
from machines.image_views import show
from machines.upload_spool import Spool


# The check of the form's token reads the whole request: it comes second, after who asks and how much is sent, or
# anybody could fill the spool.
@csrf_exempt
@page("image.make", methods=("POST",))
def image_upload(request: UserRequest) -> HttpResponseBase:
    """Have the host make an image of the archive that comes with the request."""
    host = Host.objects.first()
    if host is None or not upload_spool.ready(host):
        return show(request)
    if int(request.META.get("CONTENT_LENGTH") or 0) > upload_spool.most():
        return _wrong(request, ImageUploadForm({}, prefix="upload"), upload_spool.too_large())
    spool = Spool(request)
    request.upload_handlers = [spool]
    try:
        return _checked(request, host, spool)
    finally:
        spool.discard()


@csrf_protect
def _checked(request: UserRequest, host: Host, spool: Spool) -> HttpResponse:
    form = ImageUploadForm(request.POST, request.FILES, prefix="upload")
    if spool.full:
        return _wrong(request, form, f"It can't be kept: {spool.full}. Make room for it, or use the imports folder.")
    if request.POST.get(upload_spool.LAST) != "yes":
        return _wrong(request, form, "It broke off before all of it was here. Upload it again.")
    if not form.is_valid():
        return show(request, upload_form=form)
    file = form.cleaned_data["file"]
    suffix = upload_spool.kind_of(next(path for path in spool.paths if path.name == file.name))
    if not suffix:
        return _wrong(request, form, f"That is no archive. Choose a {upload_spool.KINDS}.")
    try:
        found = {"name": form.cleaned_data["name"], "upload": file.name, "size": file.size, "suffix": suffix}
        job = image_services.image_upload(actor_of(request), host=host, **found)
    except ValidationError as error:
        form.take(error)
        return show(request, upload_form=form)
    spool.keep(file.name)
    return redirect("hosts:job", job.pk)


def _wrong(request: UserRequest, form: ImageUploadForm, says: str) -> HttpResponse:
    form.errors.pop("file", None)
    form.add_error("file", says)
    return show(request, upload_form=form)
