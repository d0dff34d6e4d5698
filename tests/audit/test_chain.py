"""Appending, the chain, and what a database must not do to it."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, models, transaction

from audit import log, triggers
from audit.log import Actor, Thing, record
from audit.models import Entry, Head
from audit.verify import verify
from tests.audit.databases import fresh_database

FULUP = Actor(id=1, name="fulup", session="s" * 16, address="10.10.95.40")
WEB = Thing(kind="machine", id="7", text="WEB-Dom")

pytestmark = pytest.mark.django_db


@pytest.fixture
def chain():
    """Five entries."""
    for number in range(1, 6):
        record(FULUP, "machine.start", WEB, why=f"reason {number}", job=number, data={"n": number})


def test_entries_are_numbered_without_a_gap_and_each_names_the_one_before(chain):
    entries = list(Entry.objects.order_by("seq"))
    assert [e.seq for e in entries] == [1, 2, 3, 4, 5]
    assert entries[0].previous == "0" * 64
    assert [e.previous for e in entries[1:]] == [e.digest for e in entries[:-1]]
    assert Head.objects.get() == Head(id=1, seq=5, digest=entries[-1].digest)


def test_an_unbroken_chain_verifies(chain):
    verdict = verify()
    assert verdict.holds
    assert verdict.entries == 5


def test_an_empty_log_verifies():
    assert verify().holds


def test_a_deed_that_is_rolled_back_leaves_no_entry_and_no_gap(chain):
    with transaction.atomic():
        record(FULUP, "machine.stop", WEB)
        transaction.set_rollback(True)
    record(FULUP, "machine.stop", WEB)
    assert verify().holds
    assert Entry.objects.count() == 6


AWKWARD = {
    "floats": [0.1, 1.0, 1e16, 1e20, 1e-7, -0.0, 2.5e300, float("inf"), float("nan")],
    "big": 2**70,
    "text": "né\0e \ud800 \u2028 🐟",
    "nested": {"b": [None, True, {"a": ()}], "a": 1},
    "order": {"z": 1, "a": 2},
    "path": Path("/srv"),
    "when": timedelta(seconds=3),
}


def test_what_a_database_would_change_still_verifies_after_a_reload():
    record(
        Actor(id=None, name="n\0ame" + "x" * 300, session="s" * 40, address="a" * 99),
        "a" * 99,
        Thing(kind="k" * 99, id="i" * 99, text="t\ud800" * 200),
        why="w\0",
        data=AWKWARD,
    )
    record(FULUP, "machine.start", WEB)
    assert verify().holds
    entry = Entry.objects.get(seq=1)
    assert len(entry.actor_name) == 150
    assert entry.data["text"].startswith("né\ufffde")


def test_the_digest_does_not_depend_on_the_time_zone_an_entry_is_read_in(chain):
    entry = Entry.objects.get(seq=3)
    entry.at = entry.at.astimezone(ZoneInfo("Europe/Paris"))
    assert log.digest(entry) == entry.digest


CHANGES = {
    "at": models.F("at") + timedelta(seconds=1) if connection.vendor == "postgresql" else "2020-01-01T00:00:00Z",
    "actor_id": 2,
    "actor_name": "dominig",
    "session": "",
    "address": "10.0.0.1",
    "action": "machine.stop",
    "object_kind": "zone",
    "object_id": "8",
    "object_text": "Mail",
    "why": "",
    "outcome": "failed",
    "job": 99,
    "data": {"n": 33},
    "previous": "1" * 64,
    "digest": "1" * 64,
}


def test_every_field_is_among_those_forged_below():
    assert {f.attname for f in Entry._meta.concrete_fields} == {*CHANGES, "seq"}


@pytest.mark.parametrize("field", CHANGES)
def test_a_changed_field_is_found_and_named(chain, audit_unlocked, field):
    Entry.objects.filter(seq=3).update(**{field: CHANGES[field]})
    assert verify().broken in ((3,) if field != "digest" else (3, 4))


def test_a_removed_entry_is_found_and_named(chain, audit_unlocked):
    Entry.objects.filter(seq=3).delete()
    verdict = verify()
    assert verdict.broken == 3
    assert "missing" in verdict.why


def test_swapped_entries_are_found_and_named(chain, audit_unlocked):
    for old, new in ((2, 20), (3, 2), (20, 3)):
        Entry.objects.filter(seq=old).update(seq=new)
    assert verify().broken == 2


def test_a_forged_entry_with_a_digest_of_its_own_breaks_the_next(chain, audit_unlocked):
    entry = Entry.objects.get(seq=3)
    entry.actor_name = "dominig"
    Entry.objects.filter(seq=3).update(actor_name="dominig", digest=log.digest(entry))
    verdict = verify()
    assert verdict.broken == 4
    assert "does not follow" in verdict.why


def test_a_tail_that_was_cut_is_found_and_named(chain, audit_unlocked):
    Entry.objects.filter(seq=5).delete()
    assert verify().broken == 5


def test_entries_without_a_head_are_found(chain):
    Head.objects.all().delete()
    assert not verify().holds


# --- the triggers ---------------------------------------------------------------------------------------------------


def refused():
    return pytest.raises(DatabaseError, match="append-only")


def test_the_database_refuses_an_update(chain):
    with refused(), transaction.atomic():
        Entry.objects.filter(seq=3).update(why="")
    with refused(), transaction.atomic():
        Entry.objects.get(seq=3).save()


def test_the_database_refuses_a_delete(chain):
    with refused(), transaction.atomic():
        Entry.objects.all().delete()


def test_the_database_refuses_an_entry_out_of_turn(chain):
    forged = Entry.objects.get(seq=3)
    for seq in (3, 7, 0, -1):
        forged.seq = seq
        with refused(), transaction.atomic():
            forged.save(force_insert=True)


def test_the_database_refuses_an_upsert(chain):
    forged = Entry.objects.get(seq=3)
    with refused(), transaction.atomic():
        Entry.objects.bulk_create([forged], update_conflicts=True, unique_fields=["seq"], update_fields=["why"])


def test_the_database_refuses_to_empty_or_replace_the_table(chain):
    statement = (
        "TRUNCATE audit_entry"
        if connection.vendor == "postgresql"
        else "REPLACE INTO audit_entry SELECT * FROM audit_entry WHERE seq = 3"
    )
    with refused(), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert verify().holds


def test_verify_fails_when_a_trigger_is_missing(chain, audit_unlocked):
    verdict = verify()
    assert verdict.broken is None
    assert not verdict.holds
    assert "audit_no_update" in verdict.missing_triggers


def test_a_trigger_that_was_altered_counts_as_missing(chain):
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ALTER TABLE audit_entry DISABLE TRIGGER audit_no_update")
        else:
            cursor.execute("DROP TRIGGER audit_no_update")
            cursor.execute("CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit_entry BEGIN SELECT 1; END")
    assert triggers.missing() == ["audit_no_update"]


def test_the_system_check_says_so_and_names_the_way_out(audit_unlocked):
    [error] = triggers.check_triggers(databases=["default"])
    assert "audit_no_delete" in error.msg
    assert "audit lock" in error.hint
    assert triggers.check_triggers(databases=None) == []


@pytest.mark.django_db(transaction=True)
def test_they_come_back_after_a_migration_that_rebuilds_the_table(chain):
    now, other = Entry._meta.get_field("action"), models.CharField(max_length=99)
    other.set_attributes_from_name("action")
    for old, new in ((now, other), (other, now)):
        with connection.schema_editor() as editor:
            editor.alter_field(Entry, old, new, strict=True)
    assert bool(triggers.missing()) == (connection.vendor == "sqlite")
    call_command("migrate", verbosity=0, skip_checks=True)
    with refused(), transaction.atomic():
        Entry.objects.filter(seq=3).update(why="")


def test_lock_puts_them_back_and_says_so_in_the_log(audit_unlocked, capsys):
    call_command("audit", "lock")
    assert triggers.missing() == []
    assert Entry.objects.get().action == "audit.lock"
    assert "audit_no_update" in capsys.readouterr().out


@pytest.mark.django_db(transaction=True)
def test_the_flush_after_a_transactional_test_works_and_puts_the_triggers_back(chain):
    call_command("migrate", verbosity=0)
    assert triggers.missing() == []


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_command_says_unbroken(chain, capsys):
    call_command("audit", "verify")
    assert "Chain unbroken, 5 entries." in capsys.readouterr().out


def test_the_command_names_the_first_broken_entry(chain, audit_unlocked):
    Entry.objects.filter(seq__in=(2, 4)).update(why="forged")
    triggers.install()
    with pytest.raises(CommandError, match="broken at entry 2: its content is not what was written"):
        call_command("audit", "verify")


WRITER = """
import django; django.setup()
from audit.log import Actor, record
for n in range(25):
    record(Actor(id=None, name="writer {0}"), "test", data={{"n": n}})
"""


def test_writers_at_the_same_time_never_fork_the_chain(tmp_path):
    with fresh_database(tmp_path) as env:
        argv = [sys.executable, "-c"]
        writers = [subprocess.Popen([*argv, WRITER.format(n)], env=env, stderr=subprocess.PIPE) for n in range(4)]
        said = [writer.communicate(timeout=120)[1].decode() for writer in writers]
        assert said == [""] * 4
        done = subprocess.run(
            [sys.executable, "manage.py", "audit", "verify"], env=env, capture_output=True, text=True, check=False
        )
    assert "Chain unbroken, 100 entries." in done.stdout, done.stderr
