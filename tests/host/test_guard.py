"""The guard, with real processes and real rules: whatever dies or hangs, there is never a third thing."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dom0 import execute, files, flows, holders, loading, members, network, policy, runner, trial, writer
from dom0.errors import Refused
from dom0.host import HostConfig
from dom0.state import State
from dom0.steps import Command, Step
from tests.host.guarded import NEW, OLD, OTHER, PANEL, ROOT, Dom0, children, revision, until
from tests.host.wire import PATIENCE_S, Server, connect, echoes, inside

pytestmark = pytest.mark.host
TOKEN = f"{NEW}-j7"
SECONDS = 3
#: A trial that a worker has to load to its end, with Python's start, while the box does something else.
LOADED_S = 6
#: What the guard may take after the deadline on a busy box: it looks ten times a second, but may have to be started.
AFTER_S = 15.0


@contextlib.contextmanager
def world() -> Iterator[tuple[Dom0, dict[str, dict[str, str]]]]:
    """A dom0 with revision OLD in force, NEW and OTHER laid down, and what is live under each."""
    dom0 = Dom0()
    try:
        for name in (OLD, NEW, OTHER):
            dom0.lay_down(name, revision(dom0.config, name))
        dom0.confirmed(OLD)
        # OLD last: it is the one in force.
        yield dom0, {name: dom0.load(name) for name in (NEW, OTHER, OLD)}
    finally:
        dom0.close()


@pytest.fixture
def guarded() -> Iterator[tuple[Dom0, dict[str, dict[str, str]]]]:
    with world() as (dom0, live):
        dom0.guard()
        yield dom0, live


def apply(dom0: Dom0, seconds: int = LOADED_S) -> None:
    """A worker that arms and loads NEW to the end."""
    assert dom0.start("tests.host.applying", "once", TOKEN, NEW, str(seconds)).wait(60) == 0
    assert "applied" in dom0.said, dom0.said


def gone(dom0: Dom0) -> None:
    """Wait for the end of the trial that stands: the deadline, and what the guard may take after it."""
    pending = dom0.standing().pending
    left = pending.seconds_left if pending else 0.0
    until(dom0.settled, left + AFTER_S, f"the trial's end\n{dom0.said}")


def outcome(dom0: Dom0) -> tuple[str, str]:
    ended = dom0.standing().outcomes[TOKEN]
    return ended.outcome, ended.by


def test_what_nobody_confirms_is_taken_back_at_its_deadline(guarded) -> None:
    dom0, live = guarded
    apply(dom0)
    assert dom0.live() == live[NEW]
    gone(dom0)
    assert dom0.live() == live[OLD]
    assert outcome(dom0) == ("returned", "guard")


def test_what_is_confirmed_stays(guarded) -> None:
    dom0, live = guarded
    apply(dom0)
    pending = dom0.standing().pending
    assert pending is not None
    trial.confirm(dom0.config, TOKEN, dom0.standing().applied_nonce)
    time.sleep(pending.seconds_left + 0.5)
    assert dom0.live() == live[NEW]
    assert dom0.standing().confirmed == NEW
    assert outcome(dom0) == ("confirmed", "operator")


def test_taken_back_by_hand_it_is_gone_at_once(guarded) -> None:
    dom0, live = guarded
    apply(dom0, seconds=600)
    inside(dom0.ns, lambda: trial.take_back(dom0.config, "operator", print))
    assert dom0.live() == live[OLD]
    assert dom0.settled()


def test_a_machine_that_joined_during_a_trial_is_still_known_after_it(guarded) -> None:
    """Membership is no part of a revision: what jobs put in or took out meanwhile stays so."""
    dom0, live = guarded
    early, late = (members.machine_member(f"fr{n}", f"aa:bb:0a:0a:01:0{n}", f"10.10.1.{n}") for n in (1, 2))
    zone = members.zone_members("xen-br1", "10.10.1.0/24")

    def known() -> set[str]:
        return inside(dom0.ns, lambda: set(network.found_members([m.key for m in (*early, *late, *zone)])))

    inside(dom0.ns, lambda: [runner.run(member.add) for member in early])
    apply(dom0)
    inside(dom0.ns, lambda: [runner.run(member.add) for member in (*late, *zone)])
    inside(dom0.ns, lambda: [runner.run(member.remove) for member in early])
    gone(dom0)
    assert dom0.live() == live[OLD]
    assert known() == {member.key for member in (*late, *zone)}


def test_stop_closes_the_host_and_ends_the_trial(guarded) -> None:
    dom0, _ = guarded
    apply(dom0, seconds=600)
    inside(dom0.ns, lambda: trial.stop(dom0.config, print))
    now, shut = dom0.live(), dom0.load("0")
    assert now == shut
    assert shut["forward"] == "0"
    assert dom0.standing().confirmed == "0"
    assert outcome(dom0)[0] == "returned"


def test_without_a_guard_nothing_is_loaded() -> None:
    with world() as (dom0, live):
        dom0.start("tests.host.applying", "once", TOKEN, NEW, "60").wait(60)
        assert "No guard answered" in dom0.said
        assert dom0.live() == live[OLD]
        assert dom0.settled()
        assert TOKEN not in dom0.standing().outcomes


def test_each_guard_takes_over_from_the_other(guarded) -> None:
    dom0, live = guarded
    for name in ("a", "b"):
        dom0.guards[name].kill()
    until(lambda: all(guard.poll() is None for guard in dom0.guards.values()), 15, "both are started again")
    apply(dom0)
    dom0.guards["a"].kill()
    gone(dom0)
    assert dom0.live() == live[OLD]


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_stopped_guard_is_ended_by_the_other(guarded, name: str) -> None:
    dom0, _ = guarded
    stopped = dom0.guards[name]

    def beats() -> bool:
        with holders.of(f"{dom0.config.run}/guard/{name}") as found:
            return bool(found)

    until(beats, 30, "it beats")
    stopped.send_signal(signal.SIGSTOP)
    until(lambda: stopped.poll() is not None, 15, f"guard {name} is ended")


def test_both_guards_stopped_are_started_again_in_time(guarded) -> None:
    dom0, live = guarded
    apply(dom0)
    for guard in dom0.guards.values():
        guard.send_signal(signal.SIGSTOP)
    gone(dom0)
    assert dom0.live() == live[OLD]


def test_a_rollback_somebody_began_is_finished_by_the_guard() -> None:
    with world() as (dom0, live):
        dom0.load(NEW)
        pointer = json.loads(files.read_text(f"{dom0.config.state}/firewall/confirmed") or "")
        half = {**pointer, "revision": NEW, "token": TOKEN}
        files.write_atomic(f"{dom0.config.state}/firewall/rolling-back", json.dumps(half))
        dom0.guard()
        until(dom0.settled, AFTER_S)
        assert dom0.live() == live[OLD]
        assert outcome(dom0) == ("returned", "guard")


def test_a_worker_stopped_while_it_writes_is_ended_and_what_it_wrote_taken_back(guarded) -> None:
    dom0, live = guarded
    worker = dom0.start("tests.host.applying", "again", TOKEN, NEW, str(LOADED_S), OTHER)
    until(lambda: "armed" in dom0.said, 30)
    writing = writer.lock_path(dom0.config)

    def stopped_writing() -> bool:
        worker.send_signal(signal.SIGSTOP)
        with holders.of(writing) as found:
            if any(holder.pid == worker.pid for holder in found):
                return True
        worker.send_signal(signal.SIGCONT)
        return False

    until(stopped_writing, LOADED_S)
    gone(dom0)
    assert dom0.live() == live[OLD]
    assert worker.wait(AFTER_S) == -signal.SIGKILL


def test_a_stopped_loader_is_ended_with_its_worker(guarded) -> None:
    dom0, live = guarded
    worker = dom0.start("tests.host.applying", "again", TOKEN, NEW, str(LOADED_S), OTHER)
    until(lambda: "armed" in dom0.said, 30)
    writing = writer.lock_path(dom0.config)

    def stopped() -> bool:
        for child in children(worker.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGSTOP)
                with holders.of(writing) as found:
                    if any(holder.pid == child and holder.stopped for holder in found):
                        return True
                os.kill(child, signal.SIGCONT)
        return False

    until(stopped, LOADED_S)
    gone(dom0)
    assert dom0.live() == live[OLD]


def test_a_worker_that_goes_on_after_the_deadline_writes_nothing(guarded) -> None:
    dom0, live = guarded
    apply(dom0)
    gone(dom0)
    argv = ("iptables", "-A", "fr-fwd", "-j", "ACCEPT")
    step = Step(stage="apply", title="", action=Command(argv=argv), trial=TOKEN)
    with pytest.raises(Refused, match="trial is over"):
        inside(dom0.ns, lambda: execute.perform(step, dom0.config, State(), {}))
    assert dom0.live() == live[OLD]


def test_a_trial_from_before_a_restart_of_the_host_is_taken_back_at_once(guarded) -> None:
    dom0, live = guarded
    apply(dom0, seconds=600)
    path = f"{dom0.config.state}/firewall/pending"
    pointer = json.loads(files.read_text(path) or "")
    files.write_atomic(path, json.dumps({**pointer, "boot": "the one before"}))
    until(dom0.settled, AFTER_S)
    assert dom0.live() == live[OLD]


def test_where_the_confirmed_files_are_broken_the_host_is_closed(guarded) -> None:
    dom0, _ = guarded
    apply(dom0)
    cut_short = loading.folder(dom0.config, OLD) / "v4.rules"
    files.write_atomic(str(cut_short), cut_short.read_text().partition("*filter")[0])
    gone(dom0)
    assert dom0.live() == dom0.load("0")
    assert "closed but for SSH" in dom0.said


def test_a_confirmation_made_before_the_rules_were_loaded_does_not_count(guarded) -> None:
    dom0, live = guarded
    inside(dom0.ns, lambda: trial.arm(dom0.config, token=TOKEN, revision=NEW, seconds=LOADED_S))
    with pytest.raises(Refused, match="not made after"):
        trial.confirm(dom0.config, TOKEN, "")
    apply(dom0)
    with pytest.raises(Refused, match="not made after"):
        trial.confirm(dom0.config, TOKEN, "0" * 32)
    gone(dom0)
    with pytest.raises(Refused, match="over"):
        trial.confirm(dom0.config, TOKEN, dom0.standing().applied_nonce)
    assert dom0.live() == live[OLD]


@pytest.mark.parametrize("panel", [True, False], ids=["open", "shut"])
def test_an_old_connection_lives_exactly_where_the_new_rules_let_it_in(guarded, panel: bool) -> None:
    """What confirms is a request that the new rules judged, over whichever connection it comes."""
    dom0, live = guarded
    admin = f"{dom0.ns}v"
    subprocess.run(("ip", "netns", "add", admin), check=True)
    try:
        pair = ("ip", "link", "add", "tun0", "netns", dom0.ns, "type", "veth", "peer", "name", "eth0", "netns", admin)
        subprocess.run(pair, check=True)
        for ns, name, address in ((dom0.ns, "tun0", "10.10.95.38/24"), (admin, "eth0", "10.10.95.2/24")):
            subprocess.run(("ip", "-n", ns, "addr", "add", address, "dev", name), check=True)
            subprocess.run(("ip", "-n", ns, "link", "set", name, "up"), check=True)
        dom0.lay_down(NEW, revision(dom0.config, NEW, panel=panel))
        server = Server(dom0.ns, "panel", PANEL)
        old = connect(admin, "10.10.95.38", PANEL)
        assert echoes(old)
        load_without_forgetting(dom0)
        assert echoes(old), "as long as nothing is forgotten, an old connection passes any rules"
        inside(dom0.ns, lambda: trial.note_applied(dom0.config, TOKEN))
        assert echoes(old, timeout_s=PATIENCE_S if panel else 1) is panel
        assert reaches(admin, PATIENCE_S if panel else 1) is panel
        gone(dom0)
        assert dom0.live() == live[OLD]
        assert reaches(admin)
        server.close()
        old.close()
    finally:
        subprocess.run(("ip", "netns", "del", admin), check=True)


def load_without_forgetting(dom0: Dom0) -> None:
    inside(dom0.ns, lambda: trial.arm(dom0.config, token=TOKEN, revision=NEW, seconds=LOADED_S))

    def load() -> None:
        with trial.writing(dom0.config, TOKEN):
            loading.load(loading.revision(dom0.config, NEW))

    inside(dom0.ns, load)


def reaches(ns: str, timeout_s: float = PATIENCE_S) -> bool:
    try:
        with connect(ns, "10.10.95.38", PANEL, timeout_s=timeout_s):
            return True
    except OSError:
        return False


# at random

VICTIMS = ("worker", "child", "a", "b")
LANES, ROUNDS = 4, 75 if os.environ.get("FRIDU_SOAK") else 9


def test_whatever_is_killed_or_stopped_at_random_there_is_no_third_thing() -> None:
    """36 rounds (FRIDU_SOAK=1: 300), four at a time: a worker that never stops writing, one or two blows, 3 s."""
    seed = int(os.environ.get("FRIDU_SEED", time.time_ns() % 1_000_000))
    print(f"FRIDU_SEED={seed}")
    with ThreadPoolExecutor(LANES) as lanes:
        ended = list(lanes.map(lambda lane: _lane(random.Random(f"{seed}-{lane}")), range(LANES)))
    print(json.dumps(ended))
    outcomes = [outcome for lane in ended for outcome, _ in lane]
    assert len(outcomes) == LANES * ROUNDS
    assert {"returned", "confirmed"} == set(outcomes)


def _lane(chance: random.Random) -> list[tuple[str, float]]:
    with world() as (dom0, live):
        dom0.guard()
        return [_round(dom0, live, chance, f"{NEW}-j{number}") for number in range(ROUNDS)]


def _round(dom0: Dom0, live: dict[str, dict[str, str]], chance: random.Random, token: str) -> tuple[str, float]:
    """One trial under blows; how it ended, and how many seconds after its deadline all was settled."""
    before = dom0.standing().confirmed
    new = NEW if before == OLD else OLD
    mode = chance.choice(["again", "once"])
    worker = _armed(dom0, mode, token, new)
    deadline = trial.boot_time() + SECONDS
    blows = [(_when(chance), chance.choice(VICTIMS)) for _ in range(chance.choice([1, 1, 2]))]
    if mode == "once":
        blows.append((chance.uniform(1, SECONDS + 0.1), "confirm"))
    stopped: list[int] = []
    done: list[str] = []
    for at, victim in sorted(blows):
        time.sleep(max(0.0, deadline - SECONDS + at - trial.boot_time()))
        kind = chance.choice([signal.SIGKILL, signal.SIGSTOP])
        done.append(f"{at:.2f} s {victim} {kind.name}")
        if victim == "confirm":
            _confirm(dom0, token)
        for pid in _pids(dom0, worker, victim):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, kind)
                stopped += [pid] if kind == signal.SIGSTOP else []
    until(dom0.settled, deadline + AFTER_S - trial.boot_time(), f"{done} to be settled\n{dom0.said}")
    took = trial.boot_time() - deadline
    ended = dom0.standing().outcomes[token].outcome
    wanted = live[new if ended == "confirmed" else before]
    assert dom0.live() == wanted, f"{done}: {ended}\n{dom0.said}"
    for pid in stopped:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)  # it goes on after the deadline
    worker.wait(30)
    assert dom0.live() == wanted, f"{done}: {ended}, and then somebody went on writing\n{dom0.said}"
    return ended, round(took, 2)


def _armed(dom0: Dom0, mode: str, token: str, new: str) -> subprocess.Popen[bytes]:
    """A worker whose trial stands, or stood; one that found no guard in time has loaded nothing and comes again."""
    for _ in range(5):
        worker = dom0.start("tests.host.applying", mode, token, new, str(SECONDS), OTHER)
        until(lambda worker=worker: dom0.standing().pending or worker.poll() is not None, 30, f"armed\n{dom0.said}")  # type: ignore[misc]
        standing = dom0.standing()
        if standing.pending or token in standing.outcomes:
            return worker
    raise AssertionError(dom0.said)


def _when(chance: random.Random) -> float:
    """Right at the loading, or around the deadline."""
    return chance.choice([chance.uniform(0, 0.5), chance.uniform(SECONDS - 0.3, SECONDS + 0.5)])


def _confirm(dom0: Dom0, token: str) -> None:
    standing = dom0.standing()
    if standing.applied == token:
        with contextlib.suppress(Refused):
            trial.confirm(dom0.config, token, standing.applied_nonce)


def _pids(dom0: Dom0, worker: subprocess.Popen[bytes], victim: str) -> list[int]:
    if victim == "child":
        for _ in range(200):
            if found := children(worker.pid):
                return found
        return []
    if victim == "worker":
        return [worker.pid]
    return [dom0.guards[victim].pid] if victim in dom0.guards else []


# what the guard is made of


def test_flows_that_end_at_dom0_are_forgotten_and_no_others(guarded) -> None:
    dom0, _ = guarded
    subprocess.run(("ip", "-n", dom0.ns, "addr", "add", "91.121.65.140/32", "dev", "lo"), check=True)
    made = ("conntrack", "-I", "-p", "tcp", "-t", "60", "--state", "ESTABLISHED", "-u", "ASSURED,SEEN_REPLY")

    def flow(source: str, target: str, answers: str, port: int) -> None:
        ends = ("-s", source, "-d", target, "-r", answers, "-q", source)
        ports = ("--sport", "4000", "--dport", str(port), "--reply-port-src", str(port), "--reply-port-dst", "4000")
        runner.run((*made, *ends, *ports))

    def measure() -> tuple[int, str]:
        flow("198.51.100.7", "91.121.65.140", "91.121.65.140", 22)  # to dom0
        flow("198.51.100.7", "91.121.65.140", "10.10.1.2", 25)  # to a machine
        flow("91.121.65.140", "198.51.100.7", "198.51.100.7", 80)  # dom0's own question
        return flows.forget_own(), runner.run(("conntrack", "-L", "-p", "tcp")).stdout

    forgotten, left = inside(dom0.ns, measure)
    assert forgotten == 1
    assert "dport=25" in left
    assert "dport=80" in left
    assert "dport=22" not in left


@pytest.mark.parametrize(
    ("table", "rules", "said"),
    [
        ("filter", "-A fr-in -j fr-nowhere", "fr-nowhere"),
        ("filter", "-A fr-in -j fr-fwd\n-A fr-fwd -j fr-in", "circle"),
        ("nat", "-A fr-dnat -j SNAT --to-source 192.0.2.1", "place"),
    ],
    ids=["undefined chain", "loop", "SNAT in PREROUTING"],
)
def test_the_dry_run_refuses_what_test_lets_through(tmp_path, table: str, rules: str, said: str) -> None:
    names = {"filter": ("fr-in", "fr-fwd"), "nat": ("fr-dnat", "fr-snat")}[table]
    text = "\n".join([f"*{table}", *(f":{name} - [0:0]" for name in names), rules, "COMMIT", ""])
    with pytest.raises(Refused) as refused:
        policy.try_files({"v4.rules": text})
    assert said in refused.value.message
    assert rules.splitlines()[-1] in refused.value.message or "nowhere" in said


def test_many_dry_runs_at_once_are_in_nobodys_way() -> None:
    with world() as (dom0, live), ThreadPoolExecutor(6) as many:
        texts = loading.revision(dom0.config, NEW)
        list(many.map(lambda _: policy.try_files(texts), range(12)))
        assert dom0.live() == live[OLD]


def test_a_dry_run_that_is_killed_leaves_no_namespace() -> None:
    script = (
        "import time; from dom0.runner import own_network as own\nwith own() as n: print(n, flush=True), time.sleep(60)"
    )
    argv = (sys.executable, "-c", script)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT) as trying:
        assert trying.stdout is not None
        network = Path(trying.stdout.readline().strip())
        assert network.readlink() != Path("/proc/self/ns/net").readlink()
        trying.kill()
    until(lambda: not network.exists(), 30, "its namespace is gone")


@pytest.mark.parametrize("program", ["iptables", "ip6tables"])
def test_rules_of_the_legacy_backend_are_refused(tmp_path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(runner, "PATH", f"{tmp_path}:{runner.PATH}")
    (tmp_path / program).symlink_to("/usr/sbin/xtables-legacy-multi")
    with pytest.raises(Refused, match="legacy") as refused:
        policy.live(HostConfig(name="", libvirt="", volumes=""), ())
    assert "update-alternatives" in refused.value.note
