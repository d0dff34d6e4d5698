"""`manage.py createoperator NAME`: the first operator, or one more."""

from __future__ import annotations

import os
import pwd
import sys
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import services
from accounts.access import Role
from audit.log import Actor


class Command(BaseCommand):
    help = "Make an operator. Prints a one-time password, to be changed at the first sign-in."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--password-stdin", action="store_true", help="read the lasting password from stdin")

    def handle(self, *args: Any, **options: Any) -> None:
        given = sys.stdin.readline().rstrip("\n") if options["password_stdin"] else ""
        if options["password_stdin"] and len(given) < 10:
            raise CommandError("The password on stdin is shorter than 10 characters.")
        password = given or services.password_draw()
        actor = Actor(id=None, name=pwd.getpwuid(os.getuid()).pw_name, address="command line")
        try:
            user = services.user_create(
                actor, username=options["name"], role=Role.OPERATOR, password=password, once=not given
            )
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        self.stdout.write(f"{user} is an operator now.")
        if not given:
            self.stdout.write(f"One-time password, to be changed at the first sign-in: {password}")
