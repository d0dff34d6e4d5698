"""Composition only: settings, urls, Celery. Nobody imports it."""

from fridu_site.celery import app as celery_app

__all__ = ["celery_app"]
