# ruff: noqa: E501 - lines of snippets
"""A machine's console for real: gunicorn, the console process, Redis and libvirt, in a private dom0."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from demo import dom0, load, shutdown, tiny
from demo.layout import Layout
from tests.host.test_machine_life import ROOT, Box

pytestmark = pytest.mark.host

BEGIN = """
import threading
from tests.host.console_scene import *
Machine.objects.update(observed="running")
m, s = machine("Mail"), session("fulup")
"""


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    """A dom0 with one running machine, Mail."""
    box = Box(Layout(name=f"c{os.getpid() % 100000}"))
    dom0.furnish(box.layout)
    load.keys(box.layout)
    key = box.layout.var / "root" / "life-key"
    key.write_text((box.layout.var / "keys" / "owner").read_text())
    key.chmod(0o600)
    (box.layout.var / "lib" / "images").mkdir()
    tiny.build(box.layout.var / "lib" / "images" / "tiny.tar.gz", ROOT / "var" / "cache")
    try:
        box.up()
        public = (box.layout.var / "keys" / "owner.pub").read_text()
        assert box.do(f"out = prepare({public!r})") == "done"
        assert box.do('out = create("Mail", "10.10.2.4")')["state"] == "done"
        yield box
    finally:
        shutdown.stop(box.layout)
        subprocess.run(("rm", "-rf", "--one-file-system", str(box.layout.var)), check=True)


def shown(box: Box, code: str) -> Any:
    return box.do(BEGIN + code)


def test_one_logs_in_types_a_command_and_reads_its_output_and_nothing_of_it_is_kept(box: Box):
    found = shown(
        box,
        """
password, job = services.machine_password(actor(), m)
carried(job)
with Scene() as scene:
    b = Browser(m.pk, s)
    prompt = b.prompts()
    b.type(b"root\\r")
    asks = b.reads(b"Password:")
    b.type(password.encode() + b"\\r")
    inside = b.reads(b"# ")
    b.type(b"echo $((6 * 7))-is-it\\r")
    output = b.reads(b"42-is-it")
    b.type(b" stty rows 40 cols 132; stty size\\r")
    size = b.reads(b"40 132")
    asked_left = db.xlen(f"dom0.{config.name}.console")
    b.text = b""
    b.type(b"exit\\r")
    b.reads(b"login:")
    b.line.close()
said = scene.all_said.decode()
places = [p for top in ("/var/log/fridu", "/run/fridu", "/var/lib/fridu") for p in Path(top).rglob("*") if p.is_file() and p.stat().st_size < 4 << 20]
kept = [str(p) for p in places if password.encode() in p.read_bytes() or b"is-it" in p.read_bytes()]
entries = [e.action for e in Entry.objects.filter(action="machine.console")]
out = prompt, asks, inside, output, size, asked_left, password in said or "is-it" in said, kept, entries
""",
    )
    prompt, asks, inside, output, size, asked_left, in_logs, kept, entries = found
    assert (prompt, asks, inside, output, size) == (True, True, True, True, True)
    assert asked_left == 0
    assert in_logs is False
    assert kept == []
    assert entries == ["machine.console"]


def test_a_ticket_opens_one_line_and_only_from_the_panels_own_page(box: Box):
    found = shown(
        box,
        """
def tried(word, **more):
    try:
        dial(m.pk, more.pop("key", s), word, **more).close()
        return "opened"
    except Exception as error:
        return str(error)[-8:]
def fresh():
    return json.loads(asked("POST", f"/machines/{m.pk}/console/ticket/", s)[1])["ticket"]
with Scene():
    word = fresh()
    out = [tried(word), tried(word), tried("nothing"), tried(fresh(), key=session("fulup"))]
    out += [tried(fresh(), origin="http://evil.example"), tried(fresh(), key="")]
""",
    )
    assert found == [
        "opened",
        "HTTP 403",
        "HTTP 403",
        "HTTP 403",
        "HTTP 403",
        "HTTP 200",
    ]  # the last was led to the sign-in page


def test_open_consoles_hold_none_of_the_threads_that_serve_pages(box: Box):
    found = shown(
        box,
        """
with Scene():
    open_ = [Browser(m.pk, s) for _ in range(8)]
    live = [b.hears(lambda it: it.seen.get("live")) for b in open_]
    out = live, [asked("GET", f"/machines/{m.pk}/", s)[0] for _ in range(3)]
""",
    )
    assert found == [[True] * 8, [200, 200, 200]]


def test_a_second_viewer_sees_the_same_and_takes_over_with_a_sentence(box: Box):
    found = shown(
        box,
        """
with Scene():
    one = Browser(m.pk, s)
    first = one.prompts()
    two = Browser(m.pk, s)
    same = two.reads(b"login:"), two.seen["mine"], two.seen["who"]
    two.type(b"unheard"); one.type(b"abc")
    watching = two.reads(b"abc"), b"unheard" in two.text
    two.line.send("take")
    told = one.hears(lambda it: it.seen["mine"] is False), one.seen["who"]
    mine = two.hears(lambda it: it.seen["mine"])
    two.type(b"def\\r"); out = first, same, watching, told, mine, one.reads(b"def")
""",
    )
    assert found == [True, [True, False, "fulup"], [True, False], [True, "fulup"], True, True]


def test_a_broken_line_comes_back_and_has_lost_nothing(box: Box):
    found = shown(
        box,
        """
with Scene():
    one = Browser(m.pk, s); one.prompts()
    last = db.xrevrange(f"dom0.{config.name}.console.run.{one.seen['run']}", count=1)[0][0].decode()
    one.hears(lambda it: it.seen.get("at") == last)
    one.line.socket.shutdown(socket.SHUT_RDWR)
    ssh(m.address, "echo while-away > /dev/console")
    two = Browser(m.pk, s, f"?run={one.seen['run']}&after={one.seen['at']}")
    out = two.reads(b"while-away"), two.seen["again"], b"login:" in two.text.partition(b"while-away")[0], two.seen["mine"]
""",
    )
    assert found[:2] == [True, True]
    assert found[2] is False  # what this browser has shown already does not come twice


def test_a_killed_console_process_leaves_nothing_and_the_next_one_serves(box: Box):
    found = shown(
        box,
        """
with Scene() as scene:
    one = Browser(m.pk, s); one.prompts()
    scene.kill(scene.process)
    one.type(b"typed-into-nothing")
    lost = one.hears(lambda it: it.seen.get("over"), 30), one.seen["over"]
    gone = until(lambda: not keys(), 30)
    scene.process = scene.start("-m", "dom0.console")
    two = Browser(m.pk, s, f"?run={one.seen['run']}&after={one.seen['at']}"); out = lost, gone, two.prompts(), two.seen["again"], b"typed-into" in two.text
""",
    )
    assert found == [[True, "lost"], True, True, False, False]


def test_a_killed_panel_leaves_the_console_to_come_back_to(box: Box):
    found = shown(
        box,
        """
with Scene() as scene:
    one = Browser(m.pk, s); one.prompts(); one.hears(lambda it: it.seen.get("at"))
    children = Path(f"/proc/{scene.panel.pid}/task/{scene.panel.pid}/children").read_text().split()
    [os.kill(int(child), signal.SIGKILL) for child in children]
    broken = one.hears(lambda it: it.seen.get("closed") is not None)
    until(lambda: asked("GET", "/sign-in/", "")[0] == 200)
    two = Browser(m.pk, s, f"?run={one.seen['run']}&after={one.seen['at']}")
    live = two.hears(lambda it: it.seen.get("live"))
    two.line.send("take")
    out = broken, live, two.seen["again"], two.hears(lambda it: it.seen.get("mine")), two.prompts()
""",
    )
    assert found == [True] * 5


def test_a_flood_is_bounded_everywhere_and_the_machine_waits_itself(box: Box):
    found = shown(
        box,
        """
def rss(pid):
    return int(next(line.split()[1] for line in open(f"/proc/{pid}/status") if line.startswith("VmRSS")))
with Scene() as scene:
    b = Browser(m.pk, s); b.hears(lambda it: it.seen.get("live"))
    worker = Path(f"/proc/{scene.panel.pid}/task/{scene.panel.pid}/children").read_text().split()[0]
    before = rss(scene.process.pid), rss(worker)
    flood = threading.Thread(target=ssh, args=(m.address, "yes $(head -c 60 /dev/zero | tr '\\\\0' x) > /dev/console & sleep 9; kill $!"))
    flood.start()
    began, most = time.monotonic(), 0
    while time.monotonic() - began < 6:  # this browser reads nothing
        time.sleep(0.3)
        most = max(most, db.memory_usage(f"dom0.{config.name}.console.run.{b.seen['run']}") or 0)
    after = rss(scene.process.pid), rss(worker)
    flood.join()
    end = ssh(m.address, "echo after-the-flood > /dev/console")
    reads = b.reads(b"after-the-flood", 60)
    out = most, [x - y for x, y in zip(after, before)], reads, len(b.text), asked("GET", f"/machines/{m.pk}/", s)[0]
""",
    )
    most, grown, reads, printed, page = found
    assert 32 << 10 < most < 512 << 10
    assert max(grown) < 12 << 10, grown  # KiB
    assert reads
    assert printed < 9 * (300 << 10)
    assert page == 200


def test_the_console_ends_when_the_machine_stops_and_its_stream_goes(box: Box):
    found = shown(
        box,
        """
with Scene():
    b = Browser(m.pk, s); b.hears(lambda it: it.seen.get("live"))
    stopped = carried(services.machine_stop(actor(), m, force=True))["state"]
    ended = b.hears(lambda it: it.seen.get("over")), b.seen.get("over")
    Machine.objects.update(observed="running")  # as it was last seen; the console process knows better
    late = Browser(m.pk, s); late.hears(lambda it: it.seen.get("over"))
    gone = until(lambda: not keys(), 40)
    Machine.objects.update(observed="stopped")
    status, body = asked("POST", f"/machines/{m.pk}/console/ticket/", s)
carried(services.machine_start(actor(), m))
out = stopped, ended, late.seen.get("over"), gone, status, json.loads(body)["say"]
""",
    )
    stopped, ended, late, gone, status, says = found
    assert stopped == "done"
    assert ended == [True, "off"]
    assert late == "off"
    assert gone
    assert status == 409
    assert "Mail does not run" in says


def test_who_may_no_longer_is_put_out_of_an_open_console(box: Box):
    found = shown(
        box,
        """
with Scene():
    b = Browser(m.pk, s); b.hears(lambda it: it.seen.get("live"))
    SessionStore(s).delete()
    out = b.hears(lambda it: it.seen.get("over"), 30), b.seen.get("over")
""",
    )
    assert found == [True, "denied"]


def test_a_domain_that_is_not_ours_stays_closed(box: Box):
    found = shown(
        box,
        """
xml = "<domain type='lxc'><name>Other</name><memory>1024</memory><os><type>exe</type><init>/bin/true</init></os></domain>"
domains.define(config, xml, autostart=False)
other = domains.look(config, ["Other"])["Other"].uuid
real = str(m.uuid)
with Scene():
    Machine.objects.filter(pk=m.pk).update(uuid=other)
    b = Browser(m.pk, s); foreign = b.hears(lambda it: it.seen.get("over")), b.seen.get("over")
    Machine.objects.filter(pk=m.pk).update(uuid="00000000-0000-4000-8000-000000000000")
    c = Browser(m.pk, s); gone = c.hears(lambda it: it.seen.get("over")), c.seen.get("over")
Machine.objects.filter(pk=m.pk).update(uuid=real)
domains.undefine(config, other)
out = foreign, gone
""",
    )
    assert found == [[True, "foreign"], [True, "gone"]]
