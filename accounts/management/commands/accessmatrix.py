"""`manage.py accessmatrix > docs/access.md`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from accounts import matrix


class Command(BaseCommand):
    help = "Print the page that says who may do what, made from the policy table and the routes."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(matrix.page(), ending="")
