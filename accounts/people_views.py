"""Users and owners, for the operator."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import Count, Prefetch, Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse

from accounts import services
from accounts.doors import UserRequest, actor_of, page
from accounts.forms import InviteForm, MemberForm, OwnerForm, RoleForm
from accounts.models import Invitation, Membership, Owner, User
from audit.log import Actor
from dom0.errors import Refused

PER_PAGE = 50


@page("people.view")
def people(request: UserRequest) -> HttpResponse:
    """Everybody, and the associations."""
    words = request.GET.get("q", "")[:100]
    users = User.objects.prefetch_related("owners").order_by("-is_active", "username")
    if words:
        users = users.filter(Q(username__icontains=words) | Q(owners__name__icontains=words)).distinct()
    owners = Owner.objects.filter(person=None).annotate(people=Count("members"))
    context = {
        "users": Paginator(users, PER_PAGE).get_page(request.GET.get("page")),
        "owners": owners,
        "words": words,
    }
    return render(request, "accounts/people.html", context)


@page("people.change", methods=("GET", "POST"))
def invite(request: UserRequest) -> HttpResponse:
    """A new user, let in by a link or by a one-time password, shown once."""
    form = InviteForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        name, role = form.cleaned_data["username"], form.cleaned_data["role"]
        try:
            if form.cleaned_data["how"] == "link":
                user, token = services.user_invite(actor_of(request), username=name, role=role)
                return _show_once(request, user, link=_address(request, token))
            password = services.password_draw()
            user = services.user_create(actor_of(request), username=name, role=role, password=password)
            return _show_once(request, user, password=password)
        except ValidationError as error:
            form.add_error(None, error)
    return render(request, "accounts/invite.html", {"form": form}, status=422 if form.errors else 200)


@page("people.view")
def person(request: UserRequest, pk: int) -> HttpResponse:
    """One user: role, keys, owners, and what can be changed."""
    return _show_person(request, get_object_or_404(User, pk=pk))


@page("people.change", methods=("POST",))
def role(request: UserRequest, pk: int) -> HttpResponse:
    """Give another role."""
    user = get_object_or_404(User, pk=pk)
    form = RoleForm(request.POST)
    if not form.is_valid():
        return _show_person(request, user, form=form, status=422)
    return _do(request, user, lambda actor, user: services.user_role(actor, user, form.cleaned_data["role"]))


@page("people.change", methods=("POST",))
def deactivate(request: UserRequest, pk: int) -> HttpResponse:
    """Shut a user out; nothing of theirs is deleted."""
    return _do(request, get_object_or_404(User, pk=pk), services.user_deactivate)


@page("people.change", methods=("POST",))
def activate(request: UserRequest, pk: int) -> HttpResponse:
    """Let a user in again."""
    return _do(request, get_object_or_404(User, pk=pk), services.user_activate)


@page("people.change", methods=("POST",))
def link(request: UserRequest, pk: int) -> HttpResponse:
    """A new one-use link, for who lost the password."""
    user = get_object_or_404(User, pk=pk)
    return _show_once(request, user, link=_address(request, services.user_link(actor_of(request), user)))


def _do(request: UserRequest, user: User, deed: Callable[[Actor, User], None]) -> HttpResponse:
    try:
        deed(actor_of(request), user)
    except Refused as error:
        return _show_person(request, user, refused=error, status=409)
    return redirect("accounts:person", user.pk)


def _show_person(
    request: UserRequest, user: User, *, form: RoleForm | None = None, refused: Refused | None = None, status: int = 200
) -> HttpResponse:
    open_link = Invitation.objects.filter(user=user, used=None).first()
    context = {
        "person": user,
        "own": request.user.pk == user.pk,
        "keys": user.ssh_keys.all(),
        "memberships": user.membership_set.select_related("owner"),
        "open_link": open_link,
        "form": form or RoleForm(initial={"role": user.role}),
        "refused": refused,
    }
    return render(request, "accounts/person.html", context, status=status)


def _address(request: UserRequest, token: str) -> str:
    return request.build_absolute_uri(reverse("accounts:invitation", args=[token]))


def _show_once(request: UserRequest, user: User, *, link: str = "", password: str = "") -> HttpResponse:
    context = {"person": user, "link": link, "password": password, "days": services.LINK_LIVES.days}
    response = render(request, "accounts/once.html", context)
    response["Cache-Control"] = "no-store"
    return response


@page("people.change", methods=("GET", "POST"))
def owner_create(request: UserRequest) -> HttpResponse:
    """A new association."""
    form = OwnerForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            made = services.owner_create(actor_of(request), name=form.cleaned_data["name"])
        except ValidationError as error:
            form.add_error(None, error)
        else:
            return redirect("accounts:owner", made.pk)
    return render(request, "accounts/owner_create.html", {"form": form}, status=422 if form.errors else 200)


@page("people.view")
def owner(request: UserRequest, pk: int) -> HttpResponse:
    """One owner: who belongs to it, what belongs to it."""
    return _show_owner(request, pk)


@page("people.change", methods=("POST",))
def member_add(request: UserRequest, pk: int) -> HttpResponse:
    """Let a user have an association's machines."""
    found = get_object_or_404(Owner, pk=pk)
    form = MemberForm(request.POST, owner_id=pk)
    if form.is_valid():
        try:
            services.member_add(actor_of(request), found, **form.cleaned_data)
        except ValidationError as error:
            form.add_error(None, error)
        else:
            return redirect("accounts:owner", pk)
    return _show_owner(request, pk, form=form, status=422)


@page("people.change", methods=("POST",))
def member_remove(request: UserRequest, pk: int) -> HttpResponse:
    """End a user's part in an association."""
    membership = get_object_or_404(Membership.objects.select_related("owner", "user"), pk=pk)
    services.member_remove(actor_of(request), membership)
    messages.success(request, f"{membership.user} no longer belongs to {membership.owner}.")
    return redirect("accounts:owner", membership.owner_id)


def _show_owner(request: UserRequest, pk: int, *, form: MemberForm | None = None, status: int = 200) -> HttpResponse:
    members = Prefetch("membership_set", Membership.objects.select_related("user").order_by("user__username"))
    found = get_object_or_404(Owner.objects.select_related("person").prefetch_related(members), pk=pk)
    context = {"owner": found, "form": form or MemberForm(owner_id=pk)}
    return render(request, "accounts/owner.html", context, status=status)
