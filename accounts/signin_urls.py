"""The only three of django-allauth's routes that are open; each stands in accounts.access.OUTSIDE."""

from __future__ import annotations

from allauth.account import views
from django.urls import path

from accounts.doors import outside

urlpatterns = [
    path("sign-in/", outside("account_login")(views.login), name="account_login"),
    path("sign-out/", outside("account_logout")(views.logout), name="account_logout"),
    path(
        "account/password/",
        outside("account_change_password")(views.password_change),
        name="account_change_password",
    ),
]
