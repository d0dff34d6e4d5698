"""A tiny machine from the approved job to its answers, through the demo's own queue, worker, planner and libvirt.

    python -m bench.bench_create [--rounds 7]

Root needed. Starts a demo of its own (bin/demo, with a name of its own, nothing of the box is touched) and ends it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
NAME = "bench"
ROWS = (
    ("approve → first step", "approved_first_step"),
    ("  of it: queue (approve → worker has it)", "queue"),
    ("  of it: probe", "probe"),
    ("  of it: plan", "plan"),
    ("job started → ping", "started_ping"),
    ("job started → SSH", "started_ssh"),
    ("approve → SSH", "approved_ssh"),
    ("job started → job done", "started_done"),
)


def demo(*arguments: str) -> None:
    argv = ("bin/demo", "--name", NAME, *arguments)
    done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)


def inside(rounds: int) -> list[dict[str, float]]:
    argv = ("-m", "demo.enter", "--name", NAME, "/srv/fridu/.venv/bin/python", "-m", "bench.created", str(rounds))
    done = subprocess.run((sys.executable, *argv), cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True)
    found: list[dict[str, float]] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    wish = parser.parse_args()
    demo("--detach", "--yes", "--fresh", "--port", "0")
    try:
        rounds = inside(wish.rounds)
    finally:
        demo("--stop")
    print(f"tiny machine, n={len(rounds)}\n\n| from → to | median s | best s | worst s |\n|---|---|---|---|")
    for title, key in ROWS:
        taken = [each[key] for each in rounds]
        print(f"| {title} | {statistics.median(taken):.3f} | {min(taken):.3f} | {max(taken):.3f} |")
    stages = {key: [each[key] for each in rounds] for key in rounds[0] if key.startswith("stage ")}
    print("\nstages, median ms: " + ", ".join(f"{k[6:]} {statistics.median(v) * 1000:.0f}" for k, v in stages.items()))
    print("goal: job started → SSH within 1 s on an idle box")


if __name__ == "__main__":
    main()
