"""The Django admin: the auditor's window, behind the panel's own sign-in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import update_wrapper
from typing import Any

from allauth.account.decorators import secure_admin_login
from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.auth.views import LogoutView
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect

from ui.readonly import ReadOnlyAdmin

_View = Callable[..., HttpResponse]


class PanelAdminSite(AdminSite):
    """Admits whom the policy table lets read everything; shows only what was registered to be shown read-only."""

    site_title = site_header = "Fridu: every record"
    index_title = "Read-only"

    def has_permission(self, request: HttpRequest) -> bool:
        """Whether the user is of Django's staff and the table says so too."""
        from accounts.access import may
        from accounts.models import User

        user = request.user
        return isinstance(user, User) and user.is_staff and may(user, "admin.view")

    def register(
        self,
        model_or_iterable: type[Model] | Iterable[type[Model]],
        admin_class: type[ModelAdmin[Any]] | None = None,
        **options: Any,
    ) -> None:
        """Leave out what other packages bring along (groups, mail addresses): theirs could be changed."""
        if admin_class is not None and issubclass(admin_class, ReadOnlyAdmin):
            super().register(model_or_iterable, admin_class, **options)

    def admin_view(self, view: _View, cacheable: bool = False) -> _View:  # type: ignore[override]
        """No page here exists for those it does not admit."""
        inner = super().admin_view(view, cacheable)

        def door(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if request.user.is_authenticated and not self.has_permission(request):
                raise Http404
            if getattr(request.user, "password_is_once", False):
                return redirect("account_change_password")
            return inner(request, *args, **kwargs)

        return update_wrapper(door, inner)

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The panel's sign-in page, with its rate limits; who is signed in goes on or learns nothing."""
        if request.user.is_authenticated and not self.has_permission(request):
            raise Http404
        sign_in: _View = secure_admin_login(super().login)
        return sign_in(request)

    def logout(  # type: ignore[override]
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return LogoutView.as_view(next_page="account_login")(request)

    def password_change(  # type: ignore[override]
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return redirect("account_change_password")

    def password_change_done(  # type: ignore[override]
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return redirect("accounts:account")
