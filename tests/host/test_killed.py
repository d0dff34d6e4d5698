"""Workers killed before, during and after every step of a machine's life, and many workers at one job.

Beside the machine there is a neighbour, and volumes that begin like its own: none of them may be touched.
FRIDU_SOAK=1: a hundred random deaths instead of ten.
"""

from __future__ import annotations

import os

import pytest

from tests.host.test_machine_life import Box, box, nothing_left  # noqa: F401

pytestmark = pytest.mark.host
TIMES = 100 if os.environ.get("FRIDU_SOAK") else 10
SEED = 20261123


def test_it_goes_on_to_the_wanted_end_from_every_step_and_at_random(box: Box):  # noqa: F811
    steps, every, somewhere, deaths, seconds = box.do(
        f"""
from tests.host.killing import *
scene = settle()
began = time.monotonic()
try:
    every = [killed_at_every_step(deed, scene, {SEED}) for deed in DEEDS]
    chance, somewhere = random.Random({SEED}), []
    while len(somewhere) < {TIMES}:
        for deed in DEEDS:
            if len(somewhere) < {TIMES} or deed is DELETE:
                somewhere += killed_somewhere(deed, scene, chance)
finally:
    for name in ("Mail-swap.img", "Mail-root.img.old", "Mai-root.img", "Mail2-root.img"):
        Path(config.volumes, name).unlink()
out = scene.steps, every, somewhere, dict(scene.deaths), round(time.monotonic() - began)
""",
        timeout_s=600 if TIMES == 10 else 7200,
    )
    print(f"deaths at every step, of steps: {every} of {steps}; {len(somewhere)} at random; in {seconds} s: {deaths}")
    for number, (there, died) in zip(steps, every, strict=True):
        assert there >= number, "at every step"
        assert died >= 2 * there, "before each, and during or after it"
    assert len(somewhere) >= TIMES


def test_two_workers_and_a_message_that_comes_five_times_do_each_step_once(box: Box):  # noqa: F811
    created, deleted, states = box.do(
        """
from tests.host.killing import *
job = CREATE.ask()
created = all_at_once(job, 2, 5)
runs_as_wished()
gone = DELETE.ask()
deleted = all_at_once(gone, 2, 5)
_gone()
out = created, deleted, (told(job)["state"], told(gone)["state"])
""".replace("_gone()", "DELETE.check()")
    )
    assert states == ["done", "done"]
    assert len(created) >= 8
    assert len(created) == len(set(created)), created
    assert len(deleted) >= 6
    assert len(deleted) == len(set(deleted)), deleted
