"""`manage.py fridu …`, what bin/fridu calls."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connections

from fridu_site.cli.main import main


class Command(BaseCommand):
    help = "The command line of Fridu: fridu help"

    def run_from_argv(self, argv: list[str]) -> None:
        """Its own grammar (key=value, options anywhere), not Django's."""
        try:
            code = main(argv[2:])
        finally:
            connections.close_all()
        sys.exit(code)

    def handle(self, *args: Any, **options: Any) -> None:
        sys.exit(main([str(a) for a in args]))
