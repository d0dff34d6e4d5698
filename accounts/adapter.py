"""What Fridu wants otherwise than django-allauth does it: no sign-up, plain words, every attempt in the log."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.urls import reverse

from accounts import journal
from accounts.client import client_address
from accounts.models import User


class Adapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Named by settings.ACCOUNT_ADAPTER."""

    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "username_password_mismatch": "That name and password don’t go together. Try again.",
        "too_many_login_attempts": "Too many wrong passwords. Wait five minutes, then try again.",
        "enter_current_password": "That is not your password. Type the one you signed in with.",
        "incorrect_password": "That is not your password. Type the one you signed in with.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Accounts come by invitation."""
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        """For the rate limits; whoever comes over a unix socket shares one."""
        return client_address(request) or "::"

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        try:
            super().pre_authenticate(request, **credentials)
        except ValidationError:
            journal.slowed_down(request, str(credentials.get("username", "")))
            raise

    def authenticate(self, request: HttpRequest, **credentials: Any) -> User | None:
        """A deactivated user hears what everybody with a wrong password hears."""
        user: User | None = super().authenticate(request, **credentials)
        return user if user is not None and user.is_active else None

    def add_message(self, *args: Any, **kwargs: Any) -> None:
        """allauth's own messages speak another language; the pages say what happened."""

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        return reverse("accounts:account")
