"""Users, invitations, roles, associations: what the operator does on the People pages."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts import services
from accounts.models import Invitation, Membership, Owner, User
from audit.log import Actor
from audit.models import Entry
from dom0.errors import Refused

NEW = "staple battery horse"


@pytest.fixture
def operator(client, fulup):
    client.force_login(fulup)
    return client


@pytest.fixture
def actor(fulup):
    return Actor(id=fulup.pk, name="fulup")


def invite(operator, name="erwan", role="owner", how="link") -> str:
    return operator.post("/people/invite/", {"username": name, "role": role, "how": how}).content.decode()


def link_in(html: str) -> str:
    return re.search(r"/invitation/[A-Za-z0-9_-]{43}/", html)[0]


def choose(path: str, password=NEW, again=NEW):
    return Client().post(path, {"password1": password, "password2": again})


def test_an_invited_user_cannot_sign_in_before_the_link_was_used(operator):
    invite(operator)
    user = User.objects.get(username="erwan")
    assert not user.is_active
    assert not user.has_usable_password()
    assert user.own.name == "erwan"


def test_the_link_lets_choose_a_password_and_sign_in(operator):
    path = link_in(invite(operator))
    assert "erwan" in Client().get(path).content.decode()
    choose(path)
    browser = Client()
    browser.post("/sign-in/", {"login": "erwan", "password": NEW})
    assert browser.get("/account/").status_code == 200
    actions = list(Entry.objects.order_by("seq").values_list("action", "actor_name", "object_text"))
    assert ("people.invite", "fulup", "erwan") in actions
    assert ("people.accept", "erwan", "erwan") in actions


def test_the_link_works_once(operator):
    path = link_in(invite(operator))
    assert choose(path).status_code == 302
    second = choose(path, "another password 1", "another password 1")
    assert second.status_code == 404
    assert "no longer works" in second.content.decode()
    assert User.objects.get(username="erwan").check_password(NEW)


def test_the_link_ends_after_three_days(operator):
    path = link_in(invite(operator))
    Invitation.objects.update(expires=timezone.now() - timedelta(seconds=1))
    assert choose(path).status_code == 404


def test_a_new_link_ends_the_former_and_lets_in_who_lost_the_password(operator, dominig):
    first = link_in(operator.post(f"/people/{dominig.pk}/link/").content.decode())
    second = link_in(operator.post(f"/people/{dominig.pk}/link/").content.decode())
    assert choose(first).status_code == 404
    assert choose(second).status_code == 302


def test_a_guessed_link_and_a_used_one_say_the_same(operator):
    path = link_in(invite(operator))
    choose(path)
    strip = lambda html: re.sub(r'value="[^"]*"', "", html.decode())  # noqa: E731
    assert strip(Client().get(path).content) == strip(Client().get("/invitation/" + "a" * 43 + "/").content)


def test_the_database_holds_only_the_tokens_digest(operator):
    token = link_in(invite(operator)).split("/")[2]
    assert token not in str(list(Invitation.objects.values())) + str(list(Entry.objects.values()))


@pytest.mark.parametrize(("one", "two"), [("short", "short"), (NEW, NEW + "x"), ("password123", "password123")])
def test_a_weak_or_mistyped_password_does_not_spend_the_link(operator, one, two):
    path = link_in(invite(operator))
    assert choose(path, one, two).status_code == 422
    assert choose(path).status_code == 302


def test_a_one_time_password_is_shown_once_and_never_stored_in_clear(operator):
    html = invite(operator, how="password")
    password = re.search(r"[a-z2-9]{5}(-[a-z2-9]{5}){3}", html)[0]
    user = User.objects.get(username="erwan")
    assert user.check_password(password)
    assert user.password_is_once
    assert password not in str(list(Entry.objects.values()))
    assert password not in operator.get(f"/people/{user.pk}/").content.decode()


@pytest.mark.parametrize(
    ("name", "because"),
    [
        ("dominig", "There is a user dominig already"),
        ("DOMINIG", "There is a user DOMINIG already"),
        ("a b", "Use 1 to 31 letters"),
        ("a'b", "Use 1 to 31 letters"),
        ("a\nb", "Use 1 to 31 letters"),
        ("x" * 300, "at most 31"),
        ("", "required"),
    ],
)
def test_a_name_that_cannot_be_is_refused_beside_the_field(operator, dominig, name, because):
    before = User.objects.count()
    html = invite(operator, name)
    assert because in html
    assert 'aria-invalid="true"' in html
    assert User.objects.count() == before


def test_a_role_that_does_not_exist_is_refused(operator):
    invite(operator, role="root")
    assert not User.objects.filter(username="erwan").exists()


def test_mass_assignment_does_not_make_a_superuser(operator):
    data = {"username": "erwan", "role": "owner", "how": "link", "is_superuser": "1", "is_staff": "1", "is_active": "1"}
    operator.post("/people/invite/", data)
    user = User.objects.get(username="erwan")
    assert (user.is_superuser, user.is_staff, user.is_active) == (False, False, False)


def test_only_the_auditor_is_of_djangos_staff_and_loses_it_with_the_role(actor, operator):
    user, _ = services.user_invite(actor, username="annaig", role="auditor")
    assert user.is_staff
    services.user_role(actor, user, "owner")
    user.refresh_from_db()
    assert (user.role, user.is_staff) == ("owner", False)


def test_deactivating_ends_the_session_at_once(operator, dominig):
    browser = Client()
    browser.force_login(dominig)
    operator.post(f"/people/{dominig.pk}/deactivate/")
    assert browser.get("/account/").status_code == 302
    operator.post(f"/people/{dominig.pk}/activate/")
    browser.force_login(dominig)
    assert browser.get("/account/").status_code == 200


def test_a_role_taken_away_counts_from_the_next_request(operator, actor, brendan):
    browser = Client()
    browser.force_login(brendan)
    services.user_role(actor, brendan, "operator")
    assert browser.get("/people/").status_code == 200
    services.user_role(actor, brendan, "owner")
    assert browser.get("/people/").status_code == 404


def test_nobody_deactivates_or_demotes_themselves(operator, fulup, brendan, actor):
    services.user_role(actor, brendan, "operator")
    for path, data in (("deactivate", {}), ("role", {"role": "owner"})):
        answer = operator.post(f"/people/{fulup.pk}/{path}/", data)
        assert answer.status_code == 409
        assert "Another operator can." in answer.content.decode()


def test_the_last_operator_stays(fulup, brendan):
    somebody = Actor(id=brendan.pk, name="brendan")
    for deed in (
        lambda: services.user_deactivate(somebody, fulup),
        lambda: services.user_role(somebody, fulup, "owner"),
    ):
        with pytest.raises(Refused, match="fulup is the last operator"):
            deed()
    fulup.refresh_from_db()
    assert fulup.is_active


def test_an_association_and_its_members(operator, brendan, dominig):
    operator.post("/people/owners/create/", {"name": "Chorale"})
    owner = Owner.objects.get(name="Chorale")
    operator.post(f"/people/owners/{owner.pk}/members/add/", {"user": brendan.pk, "maintainer": "on"})
    assert list(brendan.owners.all()) == [owner]
    again = operator.post(f"/people/owners/{owner.pk}/members/add/", {"user": brendan.pk})
    assert again.status_code == 422
    operator.post(f"/people/members/{Membership.objects.get().pk}/remove/")
    assert not brendan.owners.exists()
    actions = list(Entry.objects.filter(object_kind="owner").order_by("seq").values_list("action", flat=True))
    assert actions == ["owner.create", "owner.member_add", "owner.member_remove"]


def test_a_members_part_lets_see_the_associations_machines(operator, brendan, web_dom):
    owner = Owner.objects.create(name="Chorale")
    web_dom.owner = owner
    web_dom.save()
    browser = Client()
    browser.force_login(brendan)
    assert browser.get(f"/machines/{web_dom.pk}/").status_code == 404
    operator.post(f"/people/owners/{owner.pk}/members/add/", {"user": brendan.pk})
    assert browser.get(f"/machines/{web_dom.pk}/").status_code == 200


def test_a_persons_own_owner_takes_no_members(operator, dominig, brendan):
    answer = operator.post(f"/people/owners/{dominig.own.pk}/members/add/", {"user": brendan.pk})
    assert answer.status_code == 422


@pytest.mark.parametrize("many", [2, 60])
def test_the_list_takes_the_same_few_queries_for_any_number(operator, django_assert_max_num_queries, many):
    for number in range(many):
        User.objects.create(username=f"user{number}")
    with django_assert_max_num_queries(7):
        assert operator.get("/people/").status_code == 200


def test_what_people_are_called_is_escaped(operator):
    User.objects.create(username="<script>alert(1)</script>")
    assert b"<script>alert" not in operator.get("/people/?q=<script>alert(1)</script>").content


def test_createoperator_prints_a_one_time_password_that_works(db, capsys):
    from django.core.management import CommandError, call_command

    call_command("createoperator", "fulup")
    password = capsys.readouterr().out.split()[-1]
    user = User.objects.get(username="fulup")
    assert user.is_operator
    assert user.check_password(password)
    assert user.password_is_once
    with pytest.raises(CommandError, match="already"):
        call_command("createoperator", "fulup")
