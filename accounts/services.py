"""What people do to accounts: keys, invitations, roles, owners and their members. Every deed is in the log."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from datetime import timedelta

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.access import RULES, Role
from accounts.keys import KeyRefused, parse
from accounts.models import Invitation, Membership, Owner, SSHKey, User, name_grammar
from audit import log
from audit.log import Actor, Thing
from dom0.errors import Refused

LINK_LIVES = timedelta(days=3)
MAX_KEYS = 20

Farewell = Callable[[Actor, User], None]
_farewells: list[Farewell] = []


def on_deactivated(farewell: Farewell) -> None:
    """Have `farewell(actor, user)` end what higher rooms gave a user, in the transaction that shuts the user out."""
    _farewells.append(farewell)


def thing_of_user(user: User) -> Thing:
    """The user as the audit log names him."""
    return Thing(kind="user", id=str(user.pk), text=user.get_username())


def thing_of_owner(owner: Owner) -> Thing:
    """The owner as the audit log names it."""
    return Thing(kind="owner", id=str(owner.pk), text=owner.name)


# Keys


def key_add(actor: Actor, user: User, *, name: str, line: str) -> SSHKey:
    """Keep a public key; without a name it takes the key's comment. Raises ValidationError by field."""
    try:
        parsed = parse(line)
    except KeyRefused as error:
        raise ValidationError({"line": str(error)}) from error
    name = " ".join((name or parsed.comment or "key").split())[:40]
    with transaction.atomic():
        mine = list(SSHKey.objects.select_for_update().filter(user=user))
        same = next((key for key in mine if key.fingerprint == parsed.fingerprint), None)
        if same:
            raise ValidationError({"line": f"You have this key already, as {same.name}."})
        if any(key.name == name for key in mine):
            raise ValidationError(
                {"name": f"You have another key called {name}. Choose another name, such as {name}-2."}
            )
        if len(mine) >= MAX_KEYS:
            raise ValidationError({"line": f"{MAX_KEYS} keys are the most one person has. Remove one first."})
        key = SSHKey(user=user, name=name, line=parsed.line, fingerprint=parsed.fingerprint)
        key.full_clean()
        key.save()
        data = {"name": name, "fingerprint": key.fingerprint}
        log.record(actor, "account.key_add", thing_of_user(user), data=data)
    return key


def key_remove(actor: Actor, key: SSHKey) -> None:
    """Forget a key. Raises Refused while a machine has it: the machine would keep it."""
    with transaction.atomic():
        key = SSHKey.objects.select_for_update().get(pk=key.pk)
        on = [str(machine) for machine in key.machines.all()]
        if on:
            raise Refused(
                f"The key {key.name} still opens {', '.join(on)}.",
                note="Take it off there first, on the machine's page, then remove it here.",
            )
        data = {"name": key.name, "fingerprint": key.fingerprint}
        user = key.user
        key.delete()
        log.record(actor, "account.key_remove", thing_of_user(user), data=data)


# People


def user_invite(actor: Actor, *, username: str, role: str) -> tuple[User, str]:
    """A new user, inactive until he used the link; returns the link's token, shown once. Raises ValidationError."""
    with transaction.atomic():
        user = _user_new(username, role)
        user.is_active = False
        user.set_unusable_password()
        user.save()
        token = _link(user)
        log.record(actor, "people.invite", thing_of_user(user), data={"role": role})
    return user, token


def user_create(actor: Actor, *, username: str, role: str, password: str, once: bool = True) -> User:
    """A new user with a password somebody else knows; `once`: to be changed at the first sign-in."""
    with transaction.atomic():
        user = _user_new(username, role)
        user.set_password(password)
        user.password_is_once = once
        user.save()
        log.record(actor, "people.create", thing_of_user(user), data={"role": role, "one-time password": once})
    return user


def password_draw() -> str:
    """A one-time password: 20 characters without those that look alike, 98 bits."""
    alphabet = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(alphabet) for _ in range(5)) for _ in range(4))


def _user_new(username: str, role: str) -> User:
    """The unsaved password-less user with his own Owner (an auditor owns nothing)."""
    name_grammar(username)
    user = User(username=username, role=Role(role))
    _staff(user)
    user.set_unusable_password()
    if User.objects.filter(username__iexact=username).exists():
        raise ValidationError({"username": f"There is a user {username} already. Choose another name."})
    if role != Role.AUDITOR and Owner.objects.filter(name__iexact=username).exists():
        raise ValidationError({"username": f"There is an owner called {username} already. Choose another name."})
    user.full_clean(exclude=["password"])
    user.save()
    if role != Role.AUDITOR:
        Owner.objects.create(name=username, person=user)
    return user


def _staff(user: User) -> None:
    """Django's own flag follows the table: it lets into the admin, which only shows."""
    user.is_staff = user.role in RULES["admin.view"].roles


def user_link(actor: Actor, user: User) -> str:
    """A new one-use link for a user who lost his password; former links end. Returns the token, shown once."""
    with transaction.atomic():
        token = _link(user)
        log.record(actor, "people.link", thing_of_user(user))
    return token


def _link(user: User) -> str:
    token = secrets.token_urlsafe(32)
    Invitation.objects.filter(user=user, used=None).delete()
    Invitation.objects.create(user=user, token_digest=_digest(token), expires=timezone.now() + LINK_LIVES)
    return token


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def invitation_of(token: str) -> Invitation | None:
    """The invitation a token opens, if it is unused and young enough."""
    live = Invitation.objects.filter(token_digest=_digest(token), used=None, expires__gt=timezone.now())
    return live.select_related("user").first()


def invitation_use(actor: Actor, token: str, password: str) -> User:
    """Set the password and let the user in from now on. Raises Refused for a link used meanwhile."""
    with transaction.atomic():
        invitation = invitation_of(token)
        taken = Invitation.objects.filter(pk=invitation.pk, used=None).update(used=timezone.now()) if invitation else 0
        if not invitation or not taken:
            raise Refused("This link was used or is too old.", note="Ask an operator for a new one.")
        user = invitation.user
        user.set_password(password)
        user.is_active, user.password_is_once = True, False
        user.save()
        who = Actor(id=user.pk, name=user.get_username(), session=actor.session, address=actor.address)
        log.record(who, "people.accept", thing_of_user(user))
    return user


def user_role(actor: Actor, user: User, role: str) -> None:
    """Give another role. Raises Refused for oneself and for the last operator."""
    with transaction.atomic():
        user = User.objects.select_for_update().get(pk=user.pk)
        _not_oneself_nor_last(actor, user, "give yourself another role")
        before, user.role = user.role, Role(role)
        _staff(user)
        user.save(update_fields=["role", "is_staff"])
        log.record(actor, "people.role", thing_of_user(user), data={"before": before, "after": role})


def user_deactivate(actor: Actor, user: User) -> None:
    """Shut out, sessions and VPN included, from the next request on.

    Raises Refused for oneself and for the last operator.
    """
    with transaction.atomic():
        user = User.objects.select_for_update().get(pk=user.pk)
        _not_oneself_nor_last(actor, user, "deactivate yourself")
        user.is_active = False
        user.save(update_fields=["is_active"])
        Invitation.objects.filter(user=user, used=None).delete()
        log.record(actor, "people.deactivate", thing_of_user(user))
        for farewell in _farewells:
            farewell(actor, user)


def user_activate(actor: Actor, user: User) -> None:
    """Let in again. Raises Refused where there is no password yet: a link is needed."""
    with transaction.atomic():
        if not user.has_usable_password():
            raise Refused(f"{user} has no password yet.", note="Make a new link instead.")
        User.objects.filter(pk=user.pk).update(is_active=True)
        log.record(actor, "people.activate", thing_of_user(user))


def _not_oneself_nor_last(actor: Actor, user: User, what: str) -> None:
    if user.pk == actor.id:
        raise Refused(f"You can't {what}.", note="Another operator can.")
    # Every operator's row is locked, so two of them can't remove each other.
    active = User.objects.select_for_update().filter(role=Role.OPERATOR, is_active=True).order_by("pk")
    if user.pk in (left := [operator.pk for operator in active]) and len(left) == 1:
        raise Refused(f"{user} is the last operator.", note="Make somebody else an operator first.")


# Owners


def owner_create(actor: Actor, *, name: str) -> Owner:
    """An association, without members yet. Raises ValidationError."""
    owner = Owner(name=name)
    owner.full_clean()
    if Owner.objects.filter(name__iexact=name).exists():
        raise ValidationError({"name": f"There is an owner called {name} already. Choose another name."})
    with transaction.atomic():
        owner.save()
        log.record(actor, "owner.create", thing_of_owner(owner))
    return owner


def member_add(actor: Actor, owner: Owner, user: User, *, maintainer: bool = False) -> None:
    """Let a user have the owner's machines. Raises ValidationError."""
    if owner.person_id:
        raise ValidationError({"user": f"{owner} is a person's own; associations have members."})
    try:
        with transaction.atomic():
            Membership.objects.create(owner=owner, user=user, maintainer=maintainer)
            data = {"user": user.get_username(), "maintainer": maintainer}
            log.record(actor, "owner.member_add", thing_of_owner(owner), data=data)
    except IntegrityError as error:
        raise ValidationError({"user": f"{user} belongs to {owner} already."}) from error


def member_remove(actor: Actor, membership: Membership) -> None:
    """End a user's part in an owner."""
    with transaction.atomic():
        data = {"user": membership.user.get_username(), "maintainer": membership.maintainer}
        membership.delete()
        log.record(actor, "owner.member_remove", thing_of_owner(membership.owner), data=data)
