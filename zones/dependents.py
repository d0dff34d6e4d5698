"""What stands on a zone or an external address: it keeps it from going, or goes with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.db import models

from zones.models import Zone


@dataclass(frozen=True, kw_only=True)
class Dependent:
    """Something that stands on a zone: its kind in words and its name; not `holds`: it goes along with the zone."""

    kind: str
    name: str
    holds: bool = True
    url: str = ""


Provider = Callable[[Zone], Iterable[Dependent]]
_providers: list[Provider] = []


def register_dependents(provider: Provider) -> None:
    """Have `provider(zone)` name what of a higher room hangs on a zone besides its protected rows."""
    _providers.append(provider)


def dependents_of(row: models.Model) -> list[Dependent]:
    """Whatever keeps a zone or an external address from going."""
    found = []
    for relation in row._meta.related_objects:
        if relation.on_delete is models.PROTECT:
            rows: Any = getattr(row, relation.get_accessor_name() or "")
            kind = str(relation.related_model._meta.verbose_name)
            found += [Dependent(kind=kind, name=str(each)) for each in rows.all()]
    if isinstance(row, Zone):
        seen = {(one.kind, one.name) for one in found}
        found += [one for one in _told(row) if one.holds and (one.kind, one.name) not in seen]
    return found


def goes_along(zone: Zone) -> list[Dependent]:
    """What ends with the zone: its restrictions, its cells of the policy, the admin VPN's way in."""
    return [one for one in _told(zone) if not one.holds]


def _told(zone: Zone) -> list[Dependent]:
    return [one for provider in _providers for one in provider(zone)]
