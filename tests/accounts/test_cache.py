"""The cache in the database: what allauth's rate limits and the log's quiet times rely on."""

from __future__ import annotations

import subprocess
import sys

import pytest
from django.core.cache import cache
from django.utils import timezone

from accounts.models import CacheRow

pytestmark = pytest.mark.django_db


def test_it_keeps_json_and_forgets_in_time():
    cache.set("k", [1.5, 2], 60)
    assert cache.get("k") == [1.5, 2]
    CacheRow.objects.update(expires=timezone.now())
    assert cache.get("k") is None
    cache.set("other", True, 60)
    assert CacheRow.objects.count() == 1, "what is over goes away by itself"


def test_add_keeps_the_first_until_it_is_over():
    assert cache.add("k", 1, 60)
    assert not cache.add("k", 2, 60)
    assert cache.get("k") == 1
    CacheRow.objects.update(expires=timezone.now())
    assert cache.add("k", 2, 60)
    assert cache.get("k") == 2


def test_delete_touch_and_clear():
    cache.set("k", 1, 60)
    assert cache.touch("k", 120)
    assert not cache.touch("nothing", 120)
    assert cache.delete("k")
    assert not cache.delete("k")
    cache.set("k", 1, None)
    assert cache.get("k") == 1
    cache.clear()
    assert cache.get("k", "gone") == "gone"


def test_any_key_will_do():
    for key in ("x" * 5000, "a b\n\0", "é\ud800"):
        cache.set(key, key[:1], 60)
        assert cache.get(key) == key[:1]


def test_what_is_no_json_is_refused_not_pickled():
    with pytest.raises(TypeError):
        cache.set("k", object(), 60)


TRY = """
import django; django.setup()
from django.core.cache import cache
print(sum(cache.add("same %d" % n, 1, 60) for n in range(30)))
"""


def test_of_several_processes_one_wins(tmp_path):
    from tests.audit.databases import fresh_database

    with fresh_database(tmp_path, "accounts") as env:
        argv = (sys.executable, "-c", TRY)
        tries = [subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
        said = [one.communicate(timeout=120) for one in tries]
    assert [err for _, err in said] == [b""] * 3
    assert sum(int(out) for out, _ in said) == 30
