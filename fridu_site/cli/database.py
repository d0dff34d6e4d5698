"""Whether there is a database to speak to, said before anything opens one: SQLite would make an empty file."""

from __future__ import annotations

import os
from pathlib import Path

from django.db import DatabaseError, connection

from dom0.errors import Refused

HOW = (
    "bin/demo starts everything with a sample, and fridu then speaks to it; docs/install.md sets up a host. "
    "Where the panel runs elsewhere, name its database in FRIDU_DATABASE_URL."
)


def demand_database() -> None:
    """Raises Refused where the database's file is not there."""
    name = str(connection.settings_dict["NAME"])
    if connection.vendor != "sqlite" or name.startswith(("file:", ":memory:")) or Path(name).exists():
        return
    if os.environ.get("FRIDU_DATABASE_URL"):
        raise Refused(f"There is no database at {name}, which FRIDU_DATABASE_URL names.", note=HOW)
    raise Refused("No database is set up here.", note=HOW)


def explained(error: DatabaseError) -> Refused:
    """What a database that can't answer comes down to, for a person."""
    try:
        bare = "django_migrations" not in connection.introspection.table_names()
    except DatabaseError:
        return Refused(f"The panel's database does not answer: {' '.join(str(error).split())}", note="Is it running?")
    if bare:
        return Refused("The panel's database holds no tables yet.", note=HOW)
    return Refused(
        f"The panel's database can't do that: {' '.join(str(error).split())}",
        note="After an update, bring its tables up to date: manage.py migrate",
    )
