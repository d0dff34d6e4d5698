"""SSH keys on a machine, by whose they are."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from accounts.models import Owner, SSHKey
from machines.models import Machine


def keys_of_people(machine: Machine, owner: Owner, *, but: Owner) -> QuerySet[SSHKey]:
    """The keys on the machine of `owner`'s people who are not among those of `but`."""
    theirs = Q(user__own=owner) | Q(user__owners=owner)
    others = Q(user__own=but) | Q(user__owners=but)
    stay = machine.ssh_keys.filter(others).values("pk")
    return machine.ssh_keys.filter(theirs).exclude(pk__in=stay).select_related("user").distinct()
