"""What one round of the watcher costs: real lxc machines, and 500 domains of libvirt's test driver.

    python -m bench.bench_sweep [--lxc 20] [--test 500] [--rounds 7]

Seconds of CPU of the round and of libvirtd's answers to it, the booking in the database included. Root needed. Starts
a demo of its own (bin/demo, with a name of its own, nothing of the box is touched) and ends it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

from bench import bench_create
from demo import service
from demo.layout import Layout

NAME = "sweep"
GOAL_S = 1.0


def inside(wish: argparse.Namespace) -> dict[str, dict]:
    counts = (str(wish.lxc), str(wish.test), str(wish.rounds))
    argv = ("-m", "demo.enter", "--name", NAME, "/srv/fridu/.venv/bin/python", "-m", "bench.swept", *counts)
    done = subprocess.run(
        (sys.executable, *argv), cwd=bench_create.PROJECT, stdout=subprocess.PIPE, text=True, check=True
    )
    return dict(json.loads(done.stdout))


def main() -> int:
    """Exit code 1 where a round takes longer than the goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lxc", type=int, default=20)
    parser.add_argument("--test", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=7)
    wish = parser.parse_args()
    bench_create.NAME = NAME
    bench_create.demo("--detach", "--yes", "--fresh", "--port", "0")
    try:
        service.stop(Layout(name=NAME), "watch")  # its rounds would be counted too
        found = inside(wish)
    finally:
        bench_create.demo("--stop")
    print("| machines | round | CPU s, median | worst | libvirtd CPU s | together | wall s |")
    print("|---|---|---|---|---|---|---|")
    worst = 0.0
    for kind, of in found.items():
        for name in ("round", "booking"):
            took = of[name]
            together = took["ours"] + took["libvirtd"]
            worst = max(worst, together)
            cells = (took["ours"], took["worst"], took["libvirtd"], together, took["wall"])
            print(f"| {of['running']} {kind} | {name} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |")
        print(f"({of['figured']} of them have figures)", file=sys.stderr)
    print(f"\ngoal: each round within {GOAL_S:g} s of CPU; a booking is every fifteenth round")
    return 0 if worst <= GOAL_S else 1


if __name__ == "__main__":
    sys.exit(main())
