"""`manage.py audit verify|lock`."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit import log, triggers
from audit.verify import Verdict, verify


class Command(BaseCommand):
    help = "verify: walk the audit log's chain and name the first broken entry. lock: put its triggers back."
    # The check of the triggers must not keep `lock` from mending them.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("what", choices=["verify", "lock"])

    def handle(self, *args: Any, **options: Any) -> None:
        if options["what"] == "lock":
            self._lock()
        else:
            self._verify()

    def _verify(self) -> None:
        began = time.monotonic()
        verdict = verify()
        if not verdict.holds:
            raise CommandError(says(verdict), returncode=1)
        self.stdout.write(f"{says(verdict)} Checked in {time.monotonic() - began:.1f} s.")

    def _lock(self) -> None:
        lacking = triggers.missing()
        triggers.install()
        if lacking:
            log.record(log.SYSTEM, "audit.lock", data={"were missing": lacking})
        self.stdout.write(f"The log is append-only; put back: {', '.join(lacking) or 'nothing, all were there'}.")


def says(verdict: Verdict) -> str:
    """The verdict in a sentence or two."""
    parts = []
    if verdict.broken is not None:
        parts.append(f"The chain is broken at entry {verdict.broken}: {verdict.why}. {verdict.entries} before it hold.")
    else:
        parts.append(f"Chain unbroken, {verdict.entries} entries.")
    if verdict.missing_triggers:
        parts.append(
            f"The database does not protect the log: {', '.join(verdict.missing_triggers)} missing or altered. "
            "`manage.py audit lock` puts them back."
        )
    return " ".join(parts)
