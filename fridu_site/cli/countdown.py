"""A question that counts down to a moment, on the terminal."""

from __future__ import annotations

import math
import select
import sys
from collections.abc import Callable
from datetime import datetime

from django.utils import timezone


def wait_for_answer(question: Callable[[int], str], until: datetime) -> str | None:
    """What was typed, "" for the end of input; None where nobody answered until then.

    `question` is given the seconds left and is written anew each second.
    """
    while (left := (until - timezone.now()).total_seconds()) > 0:
        # Over the line before: the number gets shorter, never the line.
        sys.stdout.write(f"\r{question(math.ceil(left))} \b")
        sys.stdout.flush()
        ready, _, _ = select.select([sys.stdin], [], [], min(1.0, left))
        if ready:
            return sys.stdin.readline()
    return None
