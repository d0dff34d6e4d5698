"""What applies lose and let in: services moved under a steady stream of new connections, open and closed ports alike.

    python -m bench.bench_apply_loss [--services 1000] [--applies 50] [--rate 1000]

Root needed; works in network namespaces of its own. Fridu's whole apply (compile, dry run, look, load, cut flows, look
again) beside the seed's way, flush and add, in the same scene; each apply moves the tested service to another machine.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.host import loss
from tests.host.loss import HERE, Loss

SEEDS_APPLIES = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--applies", type=int, default=50)
    parser.add_argument("--rate", type=int, default=1000)
    wish = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, loss.scene(Path(folder)) as world:
        world.apply(loss.site(wish.services, HERE))
        ours = loss.measured(world, world.apply, services=wish.services, applies=wish.applies, rate=wish.rate)
        seeds = loss.measured(world, loss.flush_and_add, services=wish.services, applies=SEEDS_APPLIES, rate=wish.rate)
    print(f"{wish.services} services, {wish.rate} new connections/s to an open and to closed ports, "
          f"{len(loss.CLIENTS)} client addresses\n")  # fmt: skip
    print(
        "| way | applies | ms an apply | asked | lost | > 0.5 s late | slowest ms | asked closed | leaked | transfer |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, found in (("Fridu", ours), ("flush and add", seeds)):
        print(row(name, found))


def row(name: str, found: Loss) -> str:
    transfer = f"alive, longest gap {found.transfer_gap_ms:.0f} ms" if found.transfer_alive else "dead"
    figures = (found.applies, found.apply_ms, found.open, found.lost, found.late, found.slowest_ms, found.closed,
               found.leaked)  # fmt: skip
    return f"| {name} | {' | '.join(map(str, figures))} | {transfer} |"


if __name__ == "__main__":
    main()
