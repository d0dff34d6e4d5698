"""A machine from the approved job to its answers, through the demo's own queue, worker, planner and libvirt.

    python -m bench.bench_create [--rounds 7]
    python -m bench.bench_create --debian bookworm

The demo's tiny machine, or a whole Debian (an archive as *Build an image* makes it, kept in var/cache) with its
systemd, DHCP and SSH, against the seed's disk steps (mkfs.ext3, tar xzf, tune) followed by the same start.
Root needed. Starts a demo of its own (bin/demo, with a name of its own, nothing of the box is touched) and ends it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from bench.bench_provision import debian

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
    ("the seed's disk steps and the same start → SSH", "seed_ssh"),
)


def demo(*arguments: str) -> None:
    argv = ("bin/demo", "--name", NAME, *arguments)
    done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)


def offered(archive: Path) -> str:
    """Its name, now that the demo's images folder has it."""
    os.link(archive, PROJECT / "var" / NAME / "lib" / "images" / archive.name)
    return archive.name


def inside(rounds: int, *wish: str) -> list[dict[str, float]]:
    entered = (sys.executable, "-m", "demo.enter", "--name", NAME, "/srv/fridu/.venv/bin/python")
    argv = (*entered, "-m", "bench.created", str(rounds), *wish)
    done = subprocess.run(argv, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True)
    found: list[dict[str, float]] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--debian", metavar="SUITE", help="bookworm or trixie; otherwise the tiny image")
    wish = parser.parse_args()
    demo("--detach", "--yes", "--fresh", "--port", "0")
    try:
        sizes = ("1024", "256", offered(debian(wish.debian))) if wish.debian else ("128", "64", "tiny")
        rounds = inside(wish.rounds, *sizes)
    finally:
        demo("--stop")
    print(f"{wish.debian or 'tiny'} machine, n={len(rounds)}\n")
    print("| from → to | median s | best s | worst s |\n|---|---|---|---|")
    for title, key in (row for row in ROWS if row[1] in rounds[0]):
        taken = [each[key] for each in rounds]
        print(f"| {title} | {statistics.median(taken):.3f} | {min(taken):.3f} | {max(taken):.3f} |")
    stages = {key: [each[key] for each in rounds] for key in rounds[0] if key.startswith("stage ")}
    print("\nstages, median ms: " + ", ".join(f"{k[6:]} {statistics.median(v) * 1000:.0f}" for k, v in stages.items()))
    if not wish.debian:
        print("goal: job started → SSH within 1 s on an idle box")
        return
    ratio = statistics.median(each["seed_ssh"] / each["started_ssh"] for each in rounds)
    print(f"the seed's way / fridu: {ratio:.1f}× (goals: ≥ 2, and within 2 s on an idle box)")


if __name__ == "__main__":
    main()
