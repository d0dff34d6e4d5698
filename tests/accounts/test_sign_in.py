"""Signing in, wrong passwords, signing out, one's own password: what the page says and what the log keeps."""

from __future__ import annotations

import re

import pytest
from django.test import Client
from django.urls import NoReverseMatch, reverse

from accounts.services import user_create, user_deactivate
from audit.log import Actor
from audit.models import Entry

PASSWORD = "correct horse battery"
WRONG = "don’t go together"
pytestmark = pytest.mark.django_db


def sign_in(client, name="dominig", password=PASSWORD, **more):
    return client.post(reverse("account_login"), {"login": name, "password": password}, **more)


def last() -> Entry:
    return Entry.objects.order_by("-seq")[0]


def test_the_right_password_lets_in_and_stands_in_the_log(client, dominig):
    answer = sign_in(client, REMOTE_ADDR="203.0.113.9")
    assert answer.status_code == 302
    assert client.get("/account/").status_code == 200
    entry = last()
    assert (entry.action, entry.outcome, entry.actor_name) == ("account.login", "done", "dominig")
    assert entry.address == "203.0.113.9"
    assert len(entry.session) == 16
    assert client.session.session_key not in entry.session


def test_one_may_type_the_name_at_once(client):
    page = client.get(reverse("account_login")).content.decode()
    assert re.search(r'<input[^>]+name="login"[^>]+autofocus', page)


def test_the_session_is_another_after_signing_in(client, dominig):
    client.get(reverse("account_login"))
    session = client.session
    session["x"] = 1
    session.save()
    before = session.session_key
    sign_in(client)
    assert client.session.session_key != before


def test_a_wrong_password_says_so_in_the_form_and_in_the_log(client, dominig):
    answer = sign_in(client, password="wrong")
    html = answer.content.decode()
    assert WRONG in html
    assert 'role="alert"' in html
    assert 'value="dominig"' in html
    assert '="wrong"' not in html
    entry = last()
    assert (entry.action, entry.outcome, entry.actor_name) == ("account.login", "refused", "unknown")
    assert entry.object_text == "dominig"
    assert "wrong" not in str(entry.data).replace("wrong password", "")


def test_an_unknown_name_and_a_deactivated_user_hear_the_same(client, dominig, fulup):
    user_deactivate(Actor(id=fulup.pk, name="fulup"), dominig)
    for name, password in (("nobody", "x"), ("dominig", PASSWORD), ("dominig", "x")):
        assert WRONG in sign_in(client, name, password).content.decode()
    assert "_auth_user_id" not in client.session


def test_after_five_wrong_passwords_for_a_name_even_the_right_one_waits(client, dominig):
    for _ in range(5):
        assert WRONG in sign_in(client, password="wrong").content.decode()
    answer = sign_in(client)
    assert "Too many wrong passwords. Wait five minutes" in answer.content.decode()
    assert "_auth_user_id" not in client.session
    sign_in(client)
    slowed = [e for e in Entry.objects.filter(action="account.login") if "too many" in e.data.get("message", "")]
    assert len(slowed) == 1, "one entry, not one a try"


def test_another_name_from_elsewhere_still_signs_in_meanwhile(client, dominig, brendan):
    for _ in range(6):
        sign_in(client, password="wrong", REMOTE_ADDR="203.0.113.9")
    sign_in(client, "brendan", REMOTE_ADDR="203.0.113.10")
    assert client.get("/account/").status_code == 200


def test_ten_wrong_passwords_from_one_address_slow_it_for_all_names(client, dominig):
    for number in range(10):
        sign_in(client, f"name{number}", "wrong")
    assert "Too many wrong passwords" in sign_in(client).content.decode()
    assert WRONG in sign_in(client, "x", "wrong", REMOTE_ADDR="203.0.113.10").content.decode()


def test_thirty_tries_a_minute_from_one_address_get_a_page_of_their_own(client, dominig):
    answers = [sign_in(client, f"n{n}", "") for n in range(31)]
    assert answers[-1].status_code == 429
    assert "Try again in a minute" in answers[-1].content.decode()


def test_x_forwarded_for_does_not_help_who_comes_directly(client, dominig):
    for number in range(10):
        sign_in(client, f"name{number}", "wrong", HTTP_X_FORWARDED_FOR=f"198.51.100.{number}")
    answer = sign_in(client, HTTP_X_FORWARDED_FOR="198.51.100.99")
    assert "Too many wrong passwords" in answer.content.decode()
    assert last().address == "127.0.0.1"


def test_behind_a_proxy_of_ours_its_entry_counts(client, dominig, settings):
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = 1
    sign_in(client, REMOTE_ADDR="127.0.0.1", HTTP_X_FORWARDED_FOR="6.6.6.6, 203.0.113.9")
    assert last().address == "203.0.113.9"


def test_over_a_unix_socket_signing_in_works_without_an_address(client, dominig):
    sign_in(client, REMOTE_ADDR="")
    assert client.get("/account/", REMOTE_ADDR="").status_code == 200
    assert last().address == ""


@pytest.mark.parametrize("name", ["n\0ul", "é", "x" * 151, "'; DROP TABLE", "<script>"])
def test_odd_names_are_refused_like_any_other(client, dominig, name):
    assert sign_in(client, name, "wrong").status_code in (200, 400)
    assert "<script>alert" not in client.get("/sign-in/").content.decode()


def test_bytes_that_are_no_text_are_refused_like_any_other_name(client, dominig):
    form = "application/x-www-form-urlencoded"
    answer = client.generic("POST", "/sign-in/", b"login=%ED%A0%80%FF&password=x", content_type=form)
    assert WRONG in answer.content.decode()


def test_signing_out_takes_a_post_and_stands_in_the_log(client, dominig):
    sign_in(client)
    client.get(reverse("account_logout"))
    assert "_auth_user_id" in client.session
    client.post(reverse("account_logout"))
    assert "_auth_user_id" not in client.session
    assert (last().action, last().actor_name) == ("account.logout", "dominig")
    assert last().session == Entry.objects.get(action="account.login").session


@pytest.mark.parametrize("there", ["https://evil.example/", "//evil.example/", "javascript:alert(1)"])
def test_it_never_leads_to_another_host(client, dominig, there):
    answer = client.post(reverse("account_login") + f"?next={there}", {"login": "dominig", "password": PASSWORD})
    assert answer["Location"] == "/"


def test_it_leads_back_to_the_page_that_was_asked_for(client, dominig):
    there = client.get("/account/")["Location"]
    assert client.post(there, {"login": "dominig", "password": PASSWORD})["Location"] == "/account/"


def test_a_forged_form_is_refused(dominig):
    answer = sign_in(Client(enforce_csrf_checks=True))
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "name",
    ["account_signup", "account_email", "account_reset_password", "account_set_password", "account_reauthenticate"],
)
def test_nothing_else_of_allauth_is_open(client, name):
    with pytest.raises(NoReverseMatch):
        reverse(name)


def test_there_is_no_sign_up(client):
    from allauth.account.adapter import get_adapter

    assert not get_adapter().is_open_for_signup(None)
    for path in ("/signup/", "/accounts/signup/", "/sign-up/"):
        assert client.get(path).status_code == 404


def test_changing_the_password_ends_the_other_sessions_and_stands_in_the_log(client, dominig):
    sign_in(client)
    other = Client()
    sign_in(other)
    new = "staple battery horse"
    answer = client.post(
        reverse("account_change_password"), {"oldpassword": PASSWORD, "password1": new, "password2": new}, follow=True
    )
    assert "Your password is changed" in answer.content.decode()
    assert last().action == "account.password"
    assert client.get("/account/").status_code == 200
    assert other.get("/account/").status_code == 302


def test_a_weak_password_or_a_wrong_old_one_is_refused(client, dominig):
    sign_in(client)
    for old, new, because in (("wrong", "staple battery horse", "not your password"), (PASSWORD, "dominig1", "short")):
        data = {"oldpassword": old, "password1": new, "password2": new}
        assert because in client.post(reverse("account_change_password"), data).content.decode()


def test_a_one_time_password_opens_nothing_but_the_change(client, fulup):
    user_create(Actor(id=fulup.pk, name="fulup"), username="erwan", role="operator", password=PASSWORD)
    sign_in(client, "erwan")
    for path in ("/", "/account/", "/people/", "/machines/"):
        assert client.get(path)["Location"] == reverse("account_change_password"), path
    new = "staple battery horse"
    client.post(reverse("account_change_password"), {"oldpassword": PASSWORD, "password1": new, "password2": new})
    assert client.get("/people/").status_code == 200


def test_a_one_time_password_does_not_open_the_admin_either(client, fulup):
    user_create(Actor(id=fulup.pk, name="fulup"), username="annaig", role="auditor", password=PASSWORD)
    sign_in(client, "annaig")
    assert client.get("/admin/")["Location"] == reverse("account_change_password")


def test_the_admin_uses_the_same_sign_in(client, agnes):
    there = client.get("/admin/accounts/user/", follow=True).redirect_chain[-1][0]
    assert there.startswith("/sign-in/?next=")
    answer = client.post(there, {"login": "agnes", "password": PASSWORD})
    assert answer["Location"] == "/admin/accounts/user/"
    assert client.get("/admin/accounts/user/").status_code == 200


def test_the_admin_tells_nothing_of_a_password_by_counting(client, fulup, agnes):
    client.force_login(agnes)
    for field, model in (("password", "user"), ("token_digest", "invitation")):
        for lookup in (f"{field}__startswith", f"{field}__gt", field):
            answer = client.get(f"/admin/accounts/{model}/", {lookup: "a"})
            assert answer.status_code == 400, lookup
    assert client.get("/admin/accounts/user/?is_active__exact=1").status_code == 200
