"""Celery: one registered task (`hosts.tasks.run`), JSON, no results, no remote control."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import worker_ready

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fridu_site.settings")
app = Celery("fridu")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["hosts"])


@worker_ready.connect  # type: ignore[untyped-decorator]
def _note(sender: Any, **_: object) -> None:
    """Tell the watcher who works on the queue: a worker's name is queue@host."""
    from dom0 import host
    from hosts import hearing

    hearing.note(host.load(), sender.hostname.partition("@")[0])
