"""Where the time of an apply goes, from the objects to the kernel: compile, look, compare, load; one run, medians.

    python -m bench.bench_compile [--sizes 10,100,1000,5000] [--rounds 7]

Root needed; everything happens in a network namespace of its own. "By hand" is the same change typed by an expert
into a hand-written file: the whole of it, or one address's chain. Ratios are of the same run.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace

from bench import peers, sites
from dom0 import chains, members
from firewall import lint, nat, render, words
from firewall.specs import Site, as_dict, from_dict

Times = dict[str, list[float]]


def fed(program: str, text: str = "") -> str:
    done = subprocess.run(program.split(), input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{program}: {done.stderr[-1000:]}")
    return done.stdout


def timed(times: Times, name: str, do: Callable[[], str]) -> str:
    began = time.perf_counter()
    got = do()
    times.setdefault(name, []).append((time.perf_counter() - began) * 1000)
    return got


def python_side(size: int, rounds: int) -> Times:
    """What needs no kernel; each from objects nobody has looked at yet."""
    times: Times = {}
    before, after = sites.site(size), moved(size, 1)
    text, save = render.v4(after), chains.applied(render.v4(before))
    plain = as_dict(before)
    for _ in range(rounds):
        fresh = replace(before)
        timed(times, "rows' objects from a note", lambda: str(len(from_dict(plain).services)))
        nat._address.cache_clear()
        timed(times, "render all files", lambda fresh=fresh: render.files(fresh).v4)  # type: ignore[misc]
        chains.read.cache_clear()
        timed(times, "compare with what is live", lambda: f"{chains.ours(save) == chains.wanted(text)}")
        timed(times, "the least to load", lambda: chains.splice(text, save))
        timed(times, "lint", lambda: str(lint.problems(replace(before))))
        timed(times, "difference in words", lambda: str(words.difference(before, after)))
        old, new = render.files(before), render.files(after)
        timed(times, "difference of the files", lambda old=old, new=new: str(render.raw_difference(old, new)))  # type: ignore[misc]
    return times


def moved(size: int, number: int) -> Site:
    """The site with one service in its middle led elsewhere, or not."""
    return sites.site(size, moved=range(size // 2, size // 2 + number % 2))


def kernel_side(size: int, rounds: int) -> Times:
    """Loading: everything changed, and one service changed, ours and by hand."""
    times: Times = {}
    clean()
    for argv in members.create_sets():
        fed_argv(argv)
    load("iptables-restore --noflush", render.v4(sites.site(size)))
    for number in range(rounds):
        wished = moved(size, number + 1)
        save = timed(times, "look (iptables-save)", lambda: fed("iptables-save"))
        part = chains.splice(render.v4(wished), save)
        timed(times, "load one service", lambda part=part: fed("iptables-restore --noflush", part))  # type: ignore[misc]
        every = sites.site(size, moved=range(size))
        part = chains.splice(render.v4(every), fed("iptables-save"))
        timed(times, "load every service", lambda part=part: fed("iptables-restore --noflush", part))  # type: ignore[misc]
        load("iptables-restore --noflush", render.v4(wished))
    clean()
    fed("iptables-restore", peers.by_hand(sites.site(size)))
    for number in range(rounds):
        zone = sites.site(size).services[size // 2].zone or 1
        chain = peers.one_chain(moved(size, number + 1), zone)
        timed(times, "one chain by hand", lambda chain=chain: fed("iptables-restore --noflush", chain))  # type: ignore[misc]
        whole = peers.by_hand(sites.site(size, moved=range(size if number % 2 else 0)))
        timed(times, "everything by hand", lambda whole=whole: fed("iptables-restore", whole))  # type: ignore[misc]
    return times


def load(program: str, text: str) -> None:
    if part := chains.splice(text, fed("iptables-save")):
        fed(program, part)


def fed_argv(argv: tuple[str, ...]) -> None:
    subprocess.run(argv, check=True, capture_output=True)


def clean() -> None:
    fed("nft flush ruleset")
    fed("ipset destroy")


def inside(wanted: list[int], rounds: int) -> None:
    found = {size: {**python_side(size, rounds), **kernel_side(size, rounds)} for size in wanted}
    median = {size: {name: statistics.median(ms) for name, ms in times.items()} for size, times in found.items()}
    print("| ms | " + " | ".join(f"{size} services" for size in wanted) + " |\n|" + "---|" * (len(wanted) + 1))
    for name in next(iter(median.values())):
        print(f"| {name} | " + " | ".join(f"{median[size][name]:.1f}" for size in wanted) + " |")
    for ours, theirs in (("load one service", "one chain by hand"), ("load every service", "everything by hand")):
        ratios = " | ".join(f"{median[size][ours] / median[size][theirs]:.2f}×" for size in wanted)
        print(f"| {ours} / {theirs} | {ratios} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10,100,1000,5000")
    parser.add_argument("--rounds", type=int, default=7)
    wish = parser.parse_args()
    os.unshare(os.CLONE_NEWNET) if hasattr(os, "unshare") else enter()
    inside([int(n) for n in wish.sizes.split(",")], wish.rounds)


def enter() -> None:
    """Python 3.11 knows no unshare: start again in a namespace of one's own, once."""
    if os.environ.get("FRIDU_BENCH") != "inside":
        argv = ("unshare", "--net", sys.executable, "-m", "bench.bench_compile", *sys.argv[1:])
        os.execvpe("unshare", argv, {**os.environ, "FRIDU_BENCH": "inside"})


if __name__ == "__main__":
    main()
