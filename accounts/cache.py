"""Django's cache as rows of JSON in the database.

The rate limits of signing in count here. The memory of one process would count for that process alone, Redis may
be away, and Django's own database and file caches hold pickles, which run code when they are read.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.db import IntegrityError, transaction
from django.utils import timezone

FOR_EVER = timedelta(days=3650)


class TableCache(BaseCache):
    """Values must be JSON. Settings: BACKEND, TIMEOUT; no location."""

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)

    def add(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Keep `value` unless there is one already; of several at the same time one wins."""
        name, until = self._name(key, version), self._until(timeout)
        self._drop_expired()
        try:
            with transaction.atomic():
                _rows().create(key=name, value=value, expires=until)
        except IntegrityError:
            return False
        return True

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        row = _rows().filter(key=self._name(key, version), expires__gt=timezone.now()).first()
        return default if row is None else row.value

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        self._drop_expired()
        _rows().update_or_create(
            key=self._name(key, version), defaults={"value": value, "expires": self._until(timeout)}
        )

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        live = _rows().filter(key=self._name(key, version), expires__gt=timezone.now())
        return bool(live.update(expires=self._until(timeout)))

    def delete(self, key: Any, version: int | None = None) -> bool:
        return bool(_rows().filter(key=self._name(key, version)).delete()[0])

    def clear(self) -> None:
        _rows().all().delete()

    def _name(self, key: Any, version: int | None) -> str:
        return hashlib.sha256(self.make_key(key, version).encode("utf-8", "replace")).hexdigest()

    def _until(self, timeout: Any) -> datetime:
        seconds = self.default_timeout if timeout is DEFAULT_TIMEOUT else timeout
        return timezone.now() + (FOR_EVER if seconds is None else timedelta(seconds=float(seconds)))

    def _drop_expired(self) -> None:
        _rows().filter(expires__lte=timezone.now()).delete()


def _rows() -> Any:
    """The table; asked for late, because a cache is made before the models are."""
    from accounts.models import CacheRow

    return CacheRow.objects
