"""Celery: one registered task (`hosts.tasks.run`), JSON, no results, no remote control."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fridu_site.settings")
app = Celery("fridu")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["hosts"])
