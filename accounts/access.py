"""Roles, verbs and the one policy table: who may do what, by action name. It knows no machine.

`RULES` is the source of the docs' matrix, of every view's check, of `visible_to`, and of the matrix test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import models

if TYPE_CHECKING:
    from accounts.models import User


class Role(models.TextChoices):
    OPERATOR = "operator", "operator"
    OWNER = "owner", "owner"
    AUDITOR = "auditor", "auditor"


class Verb(models.TextChoices):
    """What a grant on one machine can give; its owner has them all."""

    VIEW = "view", "see it"
    CONSOLE = "console", "use its console and set keys and the root password"
    POWER = "power", "start, stop and restart it"
    REBUILD = "rebuild", "reinstall it"
    BACKUP = "backup", "back it up and restore it"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Who may do an action.

    `roles` may do it anywhere; with `verb`, so may whoever holds that verb on the machine concerned
    (its owner, or somebody with a grant).
    """

    says: str
    roles: frozenset[Role]
    verb: Verb | None = None


_OP = frozenset({Role.OPERATOR})
_ALL = frozenset(Role)
_SEES = frozenset({Role.OPERATOR, Role.OWNER})

RULES: dict[str, Rule] = {
    "overview.view": Rule(says="see the whole network", roles=_OP),
    "account.own": Rule(says="see and change one's own account and SSH keys", roles=_ALL),
    "help.view": Rule(says="read the help", roles=_ALL),
    "people.view": Rule(says="see users and owners", roles=_OP),
    "people.change": Rule(says="invite, deactivate and change users and owners", roles=_OP),
    "admin.view": Rule(says="read every record in the Django admin", roles=frozenset({Role.AUDITOR})),
    "audit.view": Rule(says="read the audit log", roles=frozenset({Role.OPERATOR, Role.AUDITOR})),
    "job.view": Rule(says="see a job", roles=_OP, verb=Verb.VIEW),
    "job.approve": Rule(says="approve what he asked for himself", roles=_OP, verb=Verb.VIEW),
    "job.cancel": Rule(says="cancel what he asked for himself", roles=_OP, verb=Verb.VIEW),
    "host.view": Rule(says="see the hosts", roles=_OP),
    "host.doctor": Rule(says="diagnose a host", roles=_OP),
    "zone.view": Rule(says="see zones and external addresses", roles=_OP),
    "zone.create": Rule(says="create a zone", roles=_OP),
    "zone.change": Rule(says="change a zone", roles=_OP),
    "zone.delete": Rule(says="delete a zone", roles=_OP),
    "image.view": Rule(says="see the images", roles=_OP),
    "defaults.change": Rule(says="change what a new machine gets", roles=_OP),
    "image.add": Rule(says="add an image", roles=_OP),
    "image.make": Rule(says="have the host make an image", roles=_OP),
    "image.delete": Rule(says="delete an image", roles=_OP),
    "image.kernel": Rule(says="take a kernel out of an image", roles=_OP),
    "machine.view": Rule(says="see a machine", roles=_OP, verb=Verb.VIEW),
    "machine.create": Rule(says="create a machine", roles=_OP),
    "machine.stages": Rule(says="do stages of a machine's creation again", roles=_OP),
    "machine.expect": Rule(says="keep names and addresses of a former box's machines", roles=_OP),
    "machine.change": Rule(says="change a machine's size, name, zone, owner or start", roles=_OP),
    "machine.delete": Rule(says="delete a machine", roles=_OP),
    "machine.start": Rule(says="start a machine", roles=_OP, verb=Verb.POWER),
    "machine.stop": Rule(says="stop a machine", roles=_OP, verb=Verb.POWER),
    "machine.pause": Rule(says="pause a machine", roles=_OP, verb=Verb.POWER),
    "machine.resume": Rule(says="let a paused machine go on", roles=_OP, verb=Verb.POWER),
    "machine.reboot": Rule(says="restart a machine", roles=_OP, verb=Verb.POWER),
    "machine.reinstall": Rule(says="reinstall a machine", roles=_OP, verb=Verb.REBUILD),
    "snapshot.view": Rule(says="see a machine's snapshots", roles=_OP, verb=Verb.BACKUP),
    "snapshot.take": Rule(says="take a snapshot of a machine", roles=_OP, verb=Verb.BACKUP),
    "snapshot.restore": Rule(says="restore a machine to a snapshot", roles=_OP, verb=Verb.BACKUP),
    "snapshot.delete": Rule(says="delete a snapshot", roles=_OP, verb=Verb.BACKUP),
    "snapshot.expire": Rule(says="have what expired of one's snapshots removed", roles=_OP, verb=Verb.BACKUP),
    "snapshot.grow": Rule(says="have a snapshot given more room", roles=_OP, verb=Verb.BACKUP),
    "machine.console": Rule(says="use a machine's console", roles=_OP, verb=Verb.CONSOLE),
    "machine.limits": Rule(says="limit what a machine may take of its host", roles=_OP),
    "machine.key": Rule(says="choose the SSH keys on a machine", roles=_OP, verb=Verb.CONSOLE),
    "machine.password": Rule(says="set a one-time root password", roles=_OP, verb=Verb.CONSOLE),
    "machine.doctor": Rule(says="diagnose a machine", roles=_OP, verb=Verb.POWER),
    "machine.check": Rule(says="check a machine's filesystem", roles=_OP, verb=Verb.POWER),
    "machine.rescue": Rule(says="start a machine from a rescue image", roles=_OP, verb=Verb.CONSOLE),
    "machine.adopt": Rule(says="adopt a machine found on the host", roles=_OP),
    "machine.drift": Rule(says="settle what differs on the host from a machine's wish", roles=_OP),
    "firewall.view": Rule(says="see services, policy, restrictions and revisions", roles=_OP),
    "service.publish": Rule(says="publish a service", roles=_OP),
    "service.change": Rule(says="change a published service", roles=_OP),
    "service.unpublish": Rule(says="unpublish a service", roles=_OP),
    "restriction.change": Rule(says="change zone restrictions", roles=_OP),
    "policy.change": Rule(says="change who may reach whom", roles=_OP),
    "firewall.try": Rule(says="try a rule of one's own in a scratch namespace", roles=_OP),
    "firewall.apply": Rule(says="apply the firewall", roles=_OP),
    "firewall.confirm": Rule(says="keep a firewall revision that is on trial", roles=_OP),
    "firewall.return": Rule(says="take a firewall revision on trial back", roles=_OP),
    "firewall.stop": Rule(says="close the firewall but for SSH", roles=_OP),
    "firewall.probe": Rule(says="have the host try whether something reaches something", roles=_OP),
    "firewall.adopt": Rule(says="take over what differs on the host", roles=_OP),
    "vpn.view": Rule(says="see the admin VPN and its peers", roles=_OP),
    "vpn.change": Rule(says="add and revoke peers of the admin VPN", roles=_OP),
    "address.add": Rule(says="put an external address on its card", roles=_OP),
    "address.remove": Rule(says="take an external address off its card", roles=_OP),
    "firewall.import": Rule(says="import a rule file", roles=_OP),
}


@dataclass(frozen=True, kw_only=True)
class Outside:
    """A route the table does not rule: whoever is not signed in must be able to reach it, or allauth owns it."""

    says: str
    methods: tuple[str, ...] = ("GET", "POST")
    signed_in: bool = False


OUTSIDE: dict[str, Outside] = {
    "account_login": Outside(says="sign in"),
    "account_logout": Outside(says="sign out"),
    "account_change_password": Outside(says="change one's own password", signed_in=True),
    "accounts:invitation": Outside(says="choose a password by a one-use link"),
}


def may(user: User, action: str, *, verbs: frozenset[str] = frozenset()) -> bool:
    """Whether `user` may do `action`; `verbs` are those he holds on the object concerned.

    Raises KeyError for an action the table does not know.
    """
    rule = RULES[action]
    if not user.is_active:
        return False
    return user.role in rule.roles or (rule.verb is not None and user.role == Role.OWNER and rule.verb in verbs)


def may_somewhere(user: User, action: str) -> bool:
    """Whether there can be an object on which `user` may do `action`."""
    rule = RULES[action]
    return user.is_active and (user.role in rule.roles or (rule.verb is not None and user.role == Role.OWNER))
