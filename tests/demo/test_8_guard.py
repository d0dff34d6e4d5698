"""Whatever dies or hangs while a revision is on trial: it was kept, or the one before is live. Never a third thing.

Random blows, their seed printed; FRIDU_SOAK=1 for hundreds, FRIDU_SEED=N for the same again.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from dom0 import chains, files
from firewall import render
from tests.demo.conftest import NAME, ROOT, Demo, until

pytestmark = pytest.mark.demo

CASES = 300 if os.environ.get("FRIDU_SOAK") else 12
TIMER_S, GRACE_S = 3, 5.0
LONGER_S = 7  # two requests that nobody answers fit in
ADDRESS, PORT = "91.121.65.140", 4525
POLICY = ROOT / "var" / NAME / "lib" / "state" / "firewall"
#: Who is hit: two of three blows kill, one stops; and somebody else takes the database for a while.
VICTIMS = ("worker-net", "worker-power", "redis", "panel", "guard-a", "guard-b", "watch", "database")


class Operator:
    """tests.demo.agent inside dom0."""

    def __init__(self) -> None:
        argv = ("-m", "demo.enter", "--name", NAME, "/srv/fridu/.venv/bin/python", "-m", "tests.demo.agent")
        self.process = subprocess.Popen(
            (sys.executable, *argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )

    def __call__(self, do: str, **words: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": do, **words}) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def operator(demo: Demo) -> Iterator[Operator]:
    made = Operator()
    try:
        yield made
        made("settle", seconds=30)
        made("unpublish", name="Probe")
    finally:
        made.close()


def pointer(name: str) -> dict[str, Any]:
    try:
        return dict(json.loads((POLICY / name).read_text()))
    except FileNotFoundError:
        return {}


def in_force() -> str:
    return str(pointer("confirmed").get("revision", "0"))


def over() -> bool:
    """Whether nothing is on trial nor being taken back."""
    return not (POLICY / "pending").exists() and not (POLICY / "rolling-back").exists()


def file(revision: str, name: str) -> str:
    return (POLICY / "revisions" / revision / name).read_text()


def differing(demo: Demo, revision: str) -> list[str]:
    """The families of which the live rules are not those of `revision`."""
    live = {
        "v4.rules": chains.ours(chains.normal(demo.in_ns("dom0", "iptables-save").stdout)),
        "v6.rules": chains.ours(chains.normal(demo.in_ns("dom0", "ip6tables-save").stdout)),
    }
    out = [name for name, text in live.items() if text != chains.wanted(file(revision, name))]
    bridge = demo.in_ns("dom0", "nft", "-t", "list", "table", "bridge", "fridu").stdout
    return out + ([] if render.bridge_loaded(file(revision, "bridge.nft"), bridge) else ["bridge.nft"])


def probed(demo: Demo) -> bool:
    """Whether a packet to the service that only some revisions publish arrives."""
    return demo.greeting(ADDRESS, PORT).startswith("220 ")


def publishes(revision: str) -> bool:
    return "--comment Probe " in file(revision, "v4.rules")


def wish_otherwise(operator: Operator, revision: str) -> None:
    """Wish that the next revision publishes what this one does not, or the reverse."""
    if publishes(revision):
        operator("unpublish", name="Probe")
    else:
        operator("publish", name="Probe", address=ADDRESS, port=PORT, machine="Common", target_port=2525)


@dataclass
class Clock:
    """Watches how long a trial or its end takes on the host."""

    longest_s: float = 0.0
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        token, since = "", 0.0
        while not self.stop.wait(0.02):
            # While it is taken back, the file is there under another name.
            pending = str(pointer("pending").get("token", ""))
            if pending and pending != token:
                token, since = pending, time.monotonic()
            elif not pending and not (POLICY / "rolling-back").exists():
                token = ""
            if token:
                self.longest_s = max(self.longest_s, time.monotonic() - since)


@dataclass
class Blow:
    """One thing that happens to somebody, so many seconds after the apply was asked for."""

    who: str
    sign: signal.Signals
    after_s: float

    def __str__(self) -> str:
        return f"{self.sign.name} {self.who} at {self.after_s:.2f} s"

    def strike(self, demo: Demo) -> None:
        if self.who == "database":
            hold(demo, 0.5 + self.after_s / 2)
            return
        pid = demo.pid(self.who)
        with suppress(ProcessLookupError):
            if pid:
                os.kill(pid, self.sign)


def hold(demo: Demo, seconds: float) -> None:
    """Nobody else reads or writes the database for a while."""
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(demo.state["database"], timeout=1)) as link:
        link.execute("BEGIN EXCLUSIVE")
        time.sleep(seconds)


def blows(chance: random.Random) -> list[Blow]:
    """Three, half of them while rules are written."""
    found = []
    for who in chance.sample(VICTIMS, 3):
        sign = chance.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP))
        found.append(Blow(who, sign, chance.choice((chance.uniform(0.2, 0.9), chance.uniform(0, TIMER_S + 0.5)))))
    return sorted(found, key=lambda blow: blow.after_s)


def rain(demo: Demo, found: list[Blow]) -> None:
    began = time.monotonic()
    for blow in found:
        time.sleep(max(0.0, began + blow.after_s - time.monotonic()))
        blow.strike(demo)


def recover(demo: Demo, found: list[Blow]) -> None:
    """Whoever is stopped is ended, as a service manager's watchdog would; wait until all are there again."""
    for blow in found:
        pid = demo.pid(blow.who) if blow.who != "database" else 0
        if pid and blow.sign == signal.SIGSTOP:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    there = [blow.who for blow in found if blow.who != "database"]
    assert until(lambda: all(demo.pid(who) for who in there))


def test_at_any_blow_the_confirmed_revision_is_live_or_the_new_one_was_confirmed(demo: Demo, operator: Operator):
    seed = int(os.environ.get("FRIDU_SEED") or random.SystemRandom().randrange(10**6))
    chance = random.Random(seed)
    struck: list[str] = []
    outcomes = {"kept": 0, "returned": 0, "never armed": 0}
    for number in range(CASES):
        told = f"seed {seed}, case {number}"
        before = in_force()
        wish_otherwise(operator, before)
        found, keep = blows(chance), chance.random() < 0.5
        print(f"{told}: {', '.join(map(str, found))}{', keeping' if keep else ''}")
        clock = Clock()
        watching = threading.Thread(target=clock.run, daemon=True)
        asked = operator("apply", seconds=TIMER_S)
        assert "name" in asked, (told, asked)
        falling = threading.Thread(target=rain, args=(demo, found), daemon=True)
        watching.start()
        falling.start()
        if keep:
            operator("confirm", seconds=TIMER_S)
        falling.join()
        decided(clock)
        clock.stop.set()
        watching.join()
        assert clock.longest_s <= TIMER_S + GRACE_S, (told, clock.longest_s)
        assert judged(demo, told) in (before, asked["name"]), told
        recover(demo, found)
        settled = operator("settle", seconds=30)
        # A worker that came back may have gone on with the apply: again one of the two, and the rows say the same.
        assert settled.get("live") == judged(demo, told), (told, settled)
        assert in_force() in (before, asked["name"]), told
        ended = POLICY / "outcomes" / f"{asked['name']}-j{asked['job']}.json"
        outcomes["kept" if in_force() == asked["name"] else "returned" if ended.exists() else "never armed"] += 1
        struck += [blow.who for blow in found]
    print(f"{len(struck)} blows, seed {seed}: {outcomes}")
    assert len(struck) >= 30
    assert outcomes["returned"], "no trial was ever taken back: nothing was tested"
    assert outcomes["kept"], "none was ever kept: nothing was tested"


def decided(clock: Clock) -> None:
    """Until nothing is on trial nor being taken back; a worker that is dead may never have armed one."""
    quiet_since = time.monotonic()
    end = quiet_since + TIMER_S + GRACE_S + 2
    while time.monotonic() < end:
        if not over():
            quiet_since = time.monotonic()
        elif time.monotonic() - quiet_since > 0.8:
            return
        time.sleep(0.05)
    raise AssertionError(f"undecided after {clock.longest_s:.1f} s")


def on_trial(demo: Demo, asked: dict[str, Any]) -> str:
    """The nonce of the trial that was asked for, once it is loaded."""
    assert "key" in asked, asked
    row = ("select nonce from firewall_revision where id = ? and state = 'trial'", asked["key"])
    found = until(lambda: demo.sql(*row), every=0.02)
    assert found, stuck(demo, asked["job"])
    return str(found[0][0])


def stuck(demo: Demo, job: int) -> str:
    """What is known of a job that nobody goes on with: its row, and where its worker and the watcher stand."""
    said = [str(demo.sql("select * from hosts_job where id >= ?", job))]
    for who in ("worker-net", "watch"):
        with suppress(ProcessLookupError):
            os.kill(demo.pid(who), signal.SIGUSR1)
        time.sleep(1)
        log = Path(f"/proc/{demo.pid('keeper')}/root/var/log/fridu/{who}.log").read_text(errors="replace")
        said.append(f"{who}: {log[-6000:]}")
    return "\n".join(said)


def taken() -> str:
    """The trial the guards last took note of; a new one that begins removes that first."""
    return files.read_text(str(POLICY / "taken")) or ""


def judged(demo: Demo, told: str) -> str:
    """The revision in force, by the live rules and by a packet that only one of the two lets arrive.

    A worker that hung may begin a trial just now; then it is judged after that one.
    """
    end = time.monotonic() + 2 * (TIMER_S + GRACE_S)
    while time.monotonic() < end:
        standing = (in_force(), taken(), over())
        revision = standing[0]
        differs, arrives = differing(demo, revision), probed(demo)
        if standing == (in_force(), taken(), True):
            assert differs == [], (told, revision)
            assert arrives is publishes(revision), (told, revision)
            return revision
        time.sleep(0.2)
    raise AssertionError(f"{told}: never at rest")


class Admin:
    """A browser of the operator's in the VPN, on one connection that it keeps open."""

    CODE = (
        "import http.client,json,sys\n"
        "link=None\n"
        "for line in sys.stdin:\n"
        "    a=json.loads(line); patience=a.pop('patience_s')\n"
        "    if a.pop('anew') or link is None:\n"
        "        link=http.client.HTTPConnection('10.10.95.38',8000,timeout=patience)\n"
        "    if link.sock: link.sock.settimeout(patience)\n"
        "    try:\n"
        "        link.request(**a); r=link.getresponse(); body=r.read().decode(errors='replace')\n"
        "        out={'status':r.status,'body':body,'cookies':r.headers.get_all('Set-Cookie') or []}\n"
        "    except OSError as error: out={'status':0,'body':str(error),'cookies':[]}\n"
        "    except http.client.HTTPException as error: out={'status':0,'body':repr(error),'cookies':[]}\n"
        "    print(json.dumps(out),flush=True)\n"
    )

    def __init__(self, demo: Demo) -> None:
        argv = ("ip", "netns", "exec", demo.state["netns"]["vpn"], sys.executable, "-c", self.CODE)
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.jar: dict[str, str] = {}

    def ask(self, method: str, url: str, *, anew: bool = False, patience_s: float = 15, **form: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        headers = {"Cookie": "; ".join(f"{k}={v}" for k, v in self.jar.items()), "Host": "10.10.95.38:8000"}
        if form:
            form["csrfmiddlewaretoken"] = self.jar["csrftoken"]
            headers |= {"Content-Type": "application/x-www-form-urlencoded", "Referer": "http://10.10.95.38:8000/"}
        body = urlencode(form) if form else None
        asked = {"anew": anew, "patience_s": patience_s, "method": method, "url": url, "headers": headers, "body": body}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        for cookie in answer["cookies"]:
            self.jar |= {name: morsel.value for name, morsel in SimpleCookie(cookie).items()}
        return answer

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def admin(demo: Demo) -> Iterator[Admin]:
    made = Admin(demo)
    login = demo.state["logins"]["operator"]
    # The test before may have ended with the panel being started again.
    assert until(lambda: made.ask("GET", "/sign-in/", anew=True)["status"] == 200)
    made.ask("POST", "/sign-in/", login=login["user"], password=login["password"])
    assert made.ask("GET", "/firewall/")["status"] == 200
    yield made
    made.close()


def by_losing_the_panels_way(demo: Demo, operator: Operator) -> dict[str, Any]:
    return operator("apply", seconds=LONGER_S, again=operator("without_panel")["key"])


def by_losing_the_vpns_way(demo: Demo, operator: Operator) -> dict[str, Any]:
    operator("unpublish", name="DOM0_VPNu")
    return operator("apply", seconds=LONGER_S)


@pytest.mark.parametrize("shut", [by_losing_the_panels_way, by_losing_the_vpns_way])
def test_a_revision_that_closes_the_way_to_the_panel_cannot_be_kept_from_there_and_comes_back(
    demo: Demo, operator: Operator, admin: Admin, shut: Callable[[Demo, Operator], dict[str, Any]]
):
    before = in_force()
    asked = shut(demo, operator)
    nonce = on_trial(demo, asked)
    for anew in (False, True):
        answer = {"revision": str(asked["key"]), "nonce": nonce}
        kept = admin.ask("POST", "/firewall/trial/keep/", anew=anew, patience_s=2, **answer)
        assert kept["status"] == 0, "over the old connection or a new one, nobody is heard"
    assert until(
        lambda: not (POLICY / "pending").exists() and not (POLICY / "rolling-back").exists(), TIMER_S + GRACE_S
    )
    assert in_force() == before
    assert until(lambda: differing(demo, before) == [], 2)
    assert until(lambda: admin.ask("GET", "/firewall/", anew=True, patience_s=3)["status"] == 200), (
        "the way is open again"
    )
    assert until(lambda: demo.sql("select state from firewall_revision where id = ?", asked["key"]) == [("returned",)])
    operator("restore", name="DOM0_VPNu")
    operator("settle", seconds=10)


def test_machines_come_start_and_go_while_a_revision_is_on_trial_and_stay_so_after_it_was_taken_back(
    demo: Demo, operator: Operator
):
    def answers(address: str, name: str) -> bool:
        return bool(until(lambda: demo.greeting(address, 2525, "vpn").startswith(f"220 {name}")))

    for name, address in (("Early", "10.10.1.70"), ("Leaves", "10.10.1.71")):
        assert demo.fridu("create", f"vmname={name}", f"vmip={address}", "--yes").returncode == 0
        assert answers(address, name)
    assert demo.fridu("stop", "Early").returncode == 0
    wish_otherwise(operator, in_force())
    asked = operator("apply", seconds=90)
    on_trial(demo, asked)
    assert demo.fridu("create", "vmname=Late", "vmip=10.10.1.72", "--yes").returncode == 0
    assert demo.fridu("start", "Early").returncode == 0
    assert demo.fridu("delete", "Leaves", "--yes").returncode == 0
    assert answers("10.10.1.72", "Late")
    assert answers("10.10.1.70", "Early")
    assert pointer("pending"), "still on trial"
    operator("take_back", seconds=5)
    assert until(over)
    assert differing(demo, in_force()) == []
    for address, name in (("10.10.1.72", "Late"), ("10.10.1.70", "Early")):
        assert answers(address, name)
    assert not demo.opens("10.10.1.71", 2525, "vpn")
    assert demo.fridu("create", "vmname=Leaves", "vmip=10.10.1.71", "--yes").returncode == 0
    assert answers("10.10.1.71", "Leaves"), "its address was let go, and is taken again"
    for name in ("Early", "Late", "Leaves"):
        assert demo.fridu("delete", name, "--yes").returncode == 0
    operator("settle", seconds=10)
