"""One's own account, and the door of the invited."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from accounts import services
from accounts.doors import UserRequest, actor_of, outside, page
from accounts.forms import ChoosePasswordForm, KeyForm, ThemeForm
from accounts.journal import actor_from
from accounts.models import User
from dom0.errors import Refused


@page("account.own")
def account(request: UserRequest) -> HttpResponse:
    """Who one is, one's keys, one's colours."""
    return _show(request)


@page("account.own", methods=("POST",))
def key_add(request: UserRequest) -> HttpResponse:
    """Keep a public key."""
    form = KeyForm(request.POST)
    if form.is_valid():
        try:
            key = services.key_add(actor_of(request), request.user, **form.cleaned_data)
        except ValidationError as error:
            form.add_error(None, error)
        else:
            messages.success(request, f"Kept your key {key.name}. Choose on a machine’s page where it opens.")
            return redirect("accounts:account")
    return _show(request, form=form, status=422)


@page("account.own", methods=("POST",))
def key_remove(request: UserRequest, pk: int) -> HttpResponse:
    """Forget a key."""
    key = get_object_or_404(request.user.ssh_keys, pk=pk)
    try:
        services.key_remove(actor_of(request), key)
    except Refused as error:
        return _show(request, refused=error, status=409)
    messages.success(request, f"Removed your key {key.name}.")
    return redirect("accounts:account")


@page("account.own", methods=("POST",))
def theme(request: UserRequest) -> HttpResponse:
    """Light, dark, or as the system has it."""
    form = ThemeForm(request.POST)
    if form.is_valid():
        User.objects.filter(pk=request.user.pk).update(theme=form.cleaned_data["theme"])
    return redirect("accounts:account")


def _show(
    request: UserRequest, *, form: KeyForm | None = None, refused: Refused | None = None, status: int = 200
) -> HttpResponse:
    context = {
        "keys": request.user.ssh_keys.prefetch_related("machines"),
        "owners": request.user.owners.all(),
        "form": form or KeyForm(),
        "theme_form": ThemeForm(initial={"theme": request.user.theme}),
        "refused": refused,
    }
    return render(request, "accounts/account.html", context, status=status)


@outside("accounts:invitation")
@never_cache
@sensitive_post_parameters("password1", "password2")
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Choose a password by a one-use link; the same page for a link that was used, is too old or never was."""
    invited = services.invitation_of(token)
    if invited is None:
        return render(request, "accounts/invitation_gone.html", status=404)
    form = ChoosePasswordForm(request.POST or None, user=invited.user)
    if request.method == "POST" and form.is_valid():
        try:
            services.invitation_use(actor_from(request, None), token, form.cleaned_data["password1"])
        except Refused:
            return render(request, "accounts/invitation_gone.html", status=404)
        messages.success(request, "Your password is set. Sign in with it.")
        return redirect("account_login")
    context = {"form": form, "invited": invited.user}
    return render(request, "accounts/invitation.html", context, status=422 if form.errors else 200)
