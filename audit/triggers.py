"""Triggers by which the database itself refuses to change, remove or insert out of turn in the log.

They come after every `migrate` (SQLite drops them when Django rebuilds the table), and `missing` compares what the
database holds with what belongs there, so a trigger that was dropped, switched off or emptied is noticed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core import checks
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

TABLE = "audit_entry"

_SQLITE = {
    "audit_no_update": """CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit_entry
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
    "audit_no_delete": """CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit_entry
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
    # REPLACE INTO removes the old row without a DELETE trigger; this one sees it first.
    "audit_in_turn": """CREATE TRIGGER audit_in_turn BEFORE INSERT ON audit_entry
WHEN NEW.seq IS NOT (SELECT COALESCE(MAX(seq), 0) + 1 FROM audit_entry)
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
}

_REFUSE = "BEGIN RAISE EXCEPTION 'the audit log is append-only'; END"
_IN_TURN = """BEGIN
  IF NEW.seq IS DISTINCT FROM (SELECT COALESCE(MAX(seq), 0) + 1 FROM audit_entry) THEN
    RAISE EXCEPTION 'the audit log is append-only';
  END IF;
  RETURN NEW;
END"""
_POSTGRES = {
    "audit_no_update": ("BEFORE UPDATE", "ROW", "audit_refuse"),
    "audit_no_delete": ("BEFORE DELETE", "ROW", "audit_refuse"),
    "audit_no_truncate": ("BEFORE TRUNCATE", "STATEMENT", "audit_refuse"),
    "audit_in_turn": ("BEFORE INSERT", "ROW", "audit_next"),
}
_FUNCTIONS = {"audit_refuse": _REFUSE, "audit_next": _IN_TURN}


def install(using: str = DEFAULT_DB_ALIAS) -> None:
    """Put every trigger in its place, anew."""
    connection = connections[using]
    remove(using)
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            for statement in _SQLITE.values():
                cursor.execute(statement)
            return
        for name, body in _FUNCTIONS.items():
            cursor.execute(
                f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $fridu${body}$fridu$"
            )
        for name, (when, each, function) in _POSTGRES.items():
            # ALWAYS: also where session_replication_role is replica.
            cursor.execute(f"CREATE TRIGGER {name} {when} ON {TABLE} FOR EACH {each} EXECUTE FUNCTION {function}()")
            cursor.execute(f"ALTER TABLE {TABLE} ENABLE ALWAYS TRIGGER {name}")


def remove(using: str = DEFAULT_DB_ALIAS) -> None:
    """Take the triggers away: for `install` and for the tests' flush, never for the product."""
    connection = connections[using]
    with connection.cursor() as cursor:
        for name in _SQLITE if connection.vendor == "sqlite" else _POSTGRES:
            on_table = "" if connection.vendor == "sqlite" else f" ON {TABLE}"
            cursor.execute(f"DROP TRIGGER IF EXISTS {name}{on_table}")


def missing(using: str = DEFAULT_DB_ALIAS) -> list[str]:
    """Names of the triggers that are not there, switched off, or not as they should be."""
    connection = connections[using]
    found = _in_sqlite(connection) if connection.vendor == "sqlite" else _in_postgres(connection)
    wished: dict[str, Any] = dict(_SQLITE)
    if connection.vendor != "sqlite":
        wished = {name: ("A", function, _FUNCTIONS[function]) for name, (_, _, function) in _POSTGRES.items()}
    return sorted(name for name, what in wished.items() if found.get(name) != what)


def _in_sqlite(connection: BaseDatabaseWrapper) -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s", [TABLE])
        return dict(cursor.fetchall())


def _in_postgres(connection: BaseDatabaseWrapper) -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT t.tgname, t.tgenabled::text, p.proname, p.prosrc"
            " FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid"
            " WHERE t.tgrelid = to_regclass(%s) AND NOT t.tgisinternal",
            [TABLE],
        )
        return {name: (enabled, function, body) for name, enabled, function, body in cursor.fetchall()}


def table_exists(using: str = DEFAULT_DB_ALIAS) -> bool:
    connection = connections[using]
    with connection.cursor() as cursor:
        return TABLE in connection.introspection.table_names(cursor)


def after_migrate(using: str, **_: Any) -> None:
    """Receiver of post_migrate."""
    if table_exists(using):
        install(using)


def check_triggers(*, databases: Sequence[str] | None = None, **_: Any) -> list[checks.CheckMessage]:
    """System check, for `check --database default` and `migrate`."""
    return [
        checks.Error(
            f"The audit log can be changed: {', '.join(missing(using))} of {TABLE} are not as they should be.",
            hint="Find out who removed them, then put them back with `manage.py audit lock`.",
            id="audit.E001",
        )
        for using in databases or ()
        if table_exists(using) and missing(using)
    ]
