"""A database of one's own, for tests of several processes: a file beside SQLite's, another one in PostgreSQL."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
from django.db import connection

ROOT = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def fresh_database(tmp_path: Path, app: str = "audit") -> Iterator[dict[str, str]]:
    """The environment of a process that uses it; the tables of `app` are there."""
    with _url(tmp_path) as url:
        env = {
            **os.environ,
            "FRIDU_DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": "fridu_site.settings",
            "PYTHONPATH": str(ROOT),
        }
        migrate = [sys.executable, str(ROOT / "manage.py"), "migrate", app, "-v0", "--skip-checks"]
        subprocess.run(migrate, env=env, check=True, timeout=120, cwd=ROOT)
        yield env


@contextlib.contextmanager
def _url(tmp_path: Path) -> Iterator[str]:
    if connection.vendor == "sqlite":
        yield f"sqlite:///{tmp_path / 'own.sqlite3'}"
        return
    server = os.environ["FRIDU_DATABASE_URL"].rpartition("/")[0]
    name = f"own_{os.getpid()}"
    outside = {**connection.get_connection_params(), "dbname": "postgres"}
    with psycopg.connect(**{k: outside[k] for k in ("host", "user", "dbname")}, autocommit=True) as outer:
        outer.execute(f"CREATE DATABASE {name}")
        try:
            yield f"{server}/{name}"
        finally:
            outer.execute(f"DROP DATABASE {name} WITH (FORCE)")
