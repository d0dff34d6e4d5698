"""`manage.py watch`: the watcher of this dom0, until it is ended."""

from __future__ import annotations

import faulthandler
import logging
import signal
import threading
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import OperationalError, close_old_connections

from dom0 import host
from dom0.errors import FriduError
from hosts.watch import look

LONGEST_REST_S = 12.0  # a host not seen for longer counts as silent
logger = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Look at this host every few seconds and mend the jobs a broker or worker forgot."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--every", type=float, default=2.0, help="seconds between rounds")

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        faulthandler.register(signal.SIGUSR1)  # writes to the log where it stands, as Celery's workers do
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: stop.set())
        config = host.load()
        while not stop.is_set():
            close_old_connections()
            began = time.monotonic()
            try:
                look(config)
            except (FriduError, OSError, OperationalError):
                logger.exception("this round saw nothing")
            stop.wait(rest_s(options["every"], time.monotonic() - began))


def rest_s(every: float, took: float) -> float:
    """Seconds until the next round: where looking takes long, no more than a sixth of the time goes to it."""
    return max(every, min(5 * took, LONGEST_REST_S))
