"""The confirmed revision loaded again over what somebody changed: once begun it is finished, whatever dies or hangs.

Random blows, their seed printed; FRIDU_SOAK=1 for hundreds, FRIDU_SEED=N for the same again.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from subprocess import Popen

import pytest

from dom0 import runner, trial
from dom0.errors import Refused
from tests.host.guarded import NEW, OLD, Dom0, children, until
from tests.host.restoring import MOMENTS
from tests.host.test_guard import AFTER_S, world
from tests.host.test_guard import guarded as guarded
from tests.host.wire import inside

pytestmark = pytest.mark.host
LEAKED, SPARED = 4526, 4527
BACK = f"-p tcp --orig-dst 91.121.65.140 --orig-port-dst {LEAKED}"
BY_HAND = (
    ("iptables", "-I", "fr-fwd", "1", "-j", "ACCEPT"),
    ("iptables", "-D", "INPUT", "-j", "fr-in"),
    ("iptables", "-P", "FORWARD", "ACCEPT"),
    ("ip6tables", "-F", "fr-in"),
    ("nft", "flush", "chain", "bridge", "fridu", "port"),
    ("sysctl", "-q", "-w", "net.ipv4.ip_forward=0"),
)


def drifted(dom0: Dom0) -> dict[str, str]:
    """Somebody changes a bit of everything by hand, and a connection comes in by it; what is live then."""
    inside(dom0.ns, lambda: [runner.run(argv) for argv in BY_HAND])
    inside(dom0.ns, lambda: [runner.run(_flow(port)) for port in sorted({LEAKED, SPARED} - open_flows(dom0))])
    return dom0.live()


def _flow(port: int) -> tuple[str, ...]:
    """What makes a connection from the internet to a machine's port 80, by this port of ours."""
    state = "-t 600 --state ESTABLISHED -u ASSURED,SEEN_REPLY"
    ends = "-s 198.51.100.7 -d 91.121.65.140 -r 10.10.1.2 -q 198.51.100.7"
    ports = f"--sport {port} --dport {port} --reply-port-src 80 --reply-port-dst {port}"
    return ("conntrack", "-I", "-p", "tcp", *state.split(), *ends.split(), *ports.split())


def open_flows(dom0: Dom0) -> set[int]:
    said = inside(dom0.ns, lambda: runner.run(("conntrack", "-L", "-p", "tcp")).stdout)
    return {port for port in (LEAKED, SPARED) if f"dport={port} " in said}


def restoring(dom0: Dom0, token: str, moment: str = "", blow: str = "KILL") -> Popen[bytes]:
    return dom0.start("tests.host.restoring", token, OLD, BACK, moment, blow)


def finished(dom0: Dom0, token: str) -> tuple[str, str]:
    until(dom0.settled, AFTER_S, f"nothing is being loaded any more\n{dom0.said}")
    ended = dom0.standing().outcomes[token]
    return ended.outcome, ended.by


def test_what_somebody_changed_goes_and_so_does_what_came_in_by_it(guarded) -> None:
    dom0, live = guarded
    assert drifted(dom0) != live[OLD]
    assert open_flows(dom0) == {LEAKED, SPARED}
    assert restoring(dom0, "1-again").wait(20) == 0
    assert finished(dom0, "1-again") == ("restored", "operator")
    assert dom0.live() == live[OLD]
    assert open_flows(dom0) == {SPARED}


def test_wherever_its_worker_is_killed_or_stopped_the_guard_finishes_it(guarded) -> None:
    dom0, live = guarded
    for number, (moment, blow) in enumerate((m, b) for m in MOMENTS for b in ("KILL", "STOP")):
        drifted(dom0)
        token = f"{number}-again"
        began = time.monotonic()
        worker = restoring(dom0, token, moment, blow)
        until(lambda token=token: token in dom0.standing().outcomes, 20, f"{moment} {blow} to end\n{dom0.said}")
        assert worker.wait(AFTER_S) == -signal.SIGKILL, f"{moment} {blow}: a stopped one is ended"
        assert finished(dom0, token)[0] == "restored", (moment, blow)
        assert dom0.live() == live[OLD], (moment, blow, dom0.said)
        assert open_flows(dom0) == {SPARED}, (moment, blow)
        print(f"{moment} {blow}: {time.monotonic() - began:.1f} s, by {finished(dom0, token)[1]}")


def test_without_guards_nothing_is_lost_and_they_finish_it_when_they_come() -> None:
    with world() as (dom0, live):
        drifted(dom0)
        restoring(dom0, "1-again", "ip6tables-restore").wait(20)
        assert dom0.standing().returning
        assert dom0.live() != live[OLD]
        dom0.guard()
        assert finished(dom0, "1-again") == ("restored", "guard")
        assert dom0.live() == live[OLD]
        assert open_flows(dom0) == {SPARED}


def test_the_next_start_of_the_host_finishes_it_too() -> None:
    with world() as (dom0, live):
        drifted(dom0)
        restoring(dom0, "1-again", "iptables-restore").wait(20)
        inside(dom0.ns, lambda: runner.run(("ip", "link", "add", "eth0", "type", "bridge")))  # boot looks for its card
        dom0.start("dom0.boot").wait(20)
        assert finished(dom0, "1-again") == ("restored", "boot")
        assert dom0.live() == live[OLD]


def test_a_stop_during_a_restoration_closes_the_host_and_it_stays_so(guarded) -> None:
    dom0, _ = guarded
    drifted(dom0)
    worker = restoring(dom0, "1-again", "iptables-restore", "STOP")
    until(lambda: dom0.standing().returning or "1-again" in dom0.standing().outcomes, 20)
    inside(dom0.ns, lambda: trial.stop(dom0.config, print))
    worker.wait(AFTER_S)
    until(dom0.settled, AFTER_S)
    shut = dom0.live()
    assert shut == dom0.load("0")
    assert dom0.standing().confirmed == "0"


def test_a_trial_begun_meanwhile_is_refused_and_the_other_way_round() -> None:
    with world() as (dom0, _):
        drifted(dom0)
        restoring(dom0, "1-again", "iptables-restore").wait(20)
        dom0.start("tests.host.applying", "once", f"{NEW}-j7", NEW, "60").wait(20)
        assert "is being loaded this moment" in dom0.said
        dom0.guard()
        until(dom0.settled, AFTER_S)
        dom0.start("tests.host.applying", "once", f"{NEW}-j8", NEW, "60").wait(20)
        with pytest.raises(Refused, match="is on trial"):
            inside(dom0.ns, lambda: trial.restore(dom0.config, "2-again", OLD, (), print))
        assert dom0.standing().pending is not None


# at random

VICTIMS = ("worker", "worker", "child", "a", "b")
LANES, ROUNDS = 3, 50 if os.environ.get("FRIDU_SOAK") else 5


def test_at_random_it_is_restored_or_was_never_begun() -> None:
    """15 rounds (FRIDU_SOAK=1: 150), three at a time, one or two blows each."""
    seed = int(os.environ.get("FRIDU_SEED", time.time_ns() % 1_000_000))
    print(f"FRIDU_SEED={seed}")
    with ThreadPoolExecutor(LANES) as lanes:
        ended = list(lanes.map(lambda lane: _lane(random.Random(f"{seed}-{lane}")), range(LANES)))
    print(json.dumps(ended))
    assert sum(len(lane) for lane in ended) == LANES * ROUNDS
    assert any(by == "guard" for lane in ended for by, _ in lane)


def _lane(chance: random.Random) -> list[tuple[str, float]]:
    with world() as (dom0, live):
        dom0.guard()
        return [_round(dom0, live[OLD], chance, f"{number}-again") for number in range(ROUNDS)]


def _round(dom0: Dom0, whole: dict[str, str], chance: random.Random, token: str) -> tuple[str, float]:
    """One restoration under blows; who finished it, and how many seconds after the last blow it was."""
    changed, former = drifted(dom0), dom0.said.count("begins")
    worker = restoring(dom0, token)
    if chance.random() < 0.7:
        until(lambda: dom0.standing().returning or _over(dom0, token), 20, "it is written down")
    else:
        until(lambda: dom0.said.count("begins") > former, 20, "it is asked for")
    stopped: list[int] = []
    done: list[str] = []
    for _ in range(chance.choice([1, 1, 2])):
        time.sleep(chance.uniform(0, 0.15))
        victim, kind = chance.choice(VICTIMS), chance.choice([signal.SIGKILL, signal.SIGSTOP])
        done.append(f"{victim} {kind.name}")
        for pid in _pids(dom0, worker, victim):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, kind)
                stopped += [pid] if kind == signal.SIGSTOP else []
    struck = time.monotonic()
    time.sleep(0.02)  # a signal takes a moment
    until(lambda: worker.poll() is not None or worker.pid in stopped, 20, f"{done}: the worker's end\n{dom0.said}")
    until(dom0.settled, AFTER_S, f"{done} to be settled\n{dom0.said}")
    took = time.monotonic() - struck
    found = dom0.live()
    assert found == whole if _over(dom0, token) else found in (whole, changed), f"{done}\n{dom0.said}"
    for pid in stopped:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    worker.wait(20)
    until(dom0.settled, AFTER_S, f"{done}, and then it went on\n{dom0.said}")
    if not _over(dom0, token):
        assert dom0.live() == changed, f"{done}: never begun, and something was loaded\n{dom0.said}"
        restoring(dom0, token).wait(20)
        until(dom0.settled, AFTER_S)
        return "nobody", round(took, 2)
    assert dom0.live() == whole, f"{done}\n{dom0.said}"
    assert open_flows(dom0) == {SPARED}, f"{done}\n{dom0.said}"
    return dom0.standing().outcomes[token].by, round(took, 2)


def _over(dom0: Dom0, token: str) -> bool:
    return token in dom0.standing().outcomes


def _pids(dom0: Dom0, worker: Popen[bytes], victim: str) -> list[int]:
    if victim == "child":
        return children(worker.pid)
    if victim == "worker":
        return [worker.pid] if worker.poll() is None else []
    return [dom0.guards[victim].pid]
