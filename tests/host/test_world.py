"""The private dom0: what is in it, a machine started by hand in it, and that it leaves nothing behind."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from demo import cgroups, checks, daemons, dom0, enter, load, processes, service, shutdown, tiny
from demo.__main__ import main
from demo.layout import Layout, Problem

pytestmark = pytest.mark.host
ROOT = Path(__file__).parents[2]
LAYOUT = Layout(name=f"w{os.getpid() % 100000}")
GOLDEN = ROOT / "tests" / "golden" / "domain-lxc.xml"


KNOCK = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3)
    print("open")
except OSError as error:
    print(type(error).__name__)
"""


def until(so: Callable[[], bool], seconds: float = 60) -> bool:
    """Whether it comes to be; on a busy box anything may take its time."""
    deadline = time.monotonic() + seconds
    while not so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def traces() -> dict[str, object]:
    """Everything of this test's dom0 that the box could see, and what nobody may change on the box."""

    def said(*argv: str) -> str:
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    ours = (LAYOUT.name, str(LAYOUT.var))
    return {
        "namespaces": [line for line in said("ip", "netns").splitlines() if LAYOUT.name in line],
        "loops": shutdown.loops(LAYOUT),
        "mounts": [line for line in Path("/proc/mounts").read_text().splitlines() if any(o in line for o in ours)],
        "groups": [str(p) for p in Path("/sys/fs/cgroup").glob(f"**/{LAYOUT.cgroup}")],
        "links": [link["ifname"] for link in json.loads(said("ip", "-j", "link"))],
        "rules": [line for line in said("iptables-save").splitlines() if not line.startswith(("#", ":"))],
        "forward": Path("/proc/sys/net/ipv4/ip_forward").read_text(),
    }


def population() -> list[int]:
    """Every process in dom0's PID namespace, as the box numbers them."""
    ours = Path(f"/proc/{processes.recorded(LAYOUT)['keeper'].pid}/ns/pid").readlink()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "ns" / "pid_for_children").readlink() == ours:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.fixture(autouse=True, scope="module")
def nothing_kept() -> Iterator[None]:
    yield
    shutil.rmtree(LAYOUT.var, ignore_errors=True)


@pytest.fixture
def host() -> Iterator[Layout]:
    """A dom0 with Redis, libvirtd and SSH, without the panel."""
    dom0.furnish(LAYOUT)
    load.keys(LAYOUT)
    dom0.up(LAYOUT)
    daemons.start_host(LAYOUT)
    yield LAYOUT
    shutdown.stop(LAYOUT)


def test_it_leaves_nothing_behind():
    before = traces()
    dom0.furnish(LAYOUT)
    dom0.up(LAYOUT)
    daemons.start_host(LAYOUT)
    during, inside = traces(), population()
    shutdown.stop(LAYOUT)
    assert len(during["namespaces"]) == 3
    assert during["links"] == before["links"]
    assert len(inside) >= 4
    assert traces() == before
    assert not any(processes.start_time(pid) for pid in inside)


def test_a_killed_first_process_takes_all_others_with_it(host: Layout):
    inside = population()
    assert processes.kill(processes.recorded(host)["keeper"])
    assert until(lambda: not any(processes.start_time(pid) for pid in inside))
    assert dom0.traces(host)
    shutdown.stop(host)
    assert not dom0.traces(host)


def test_stopping_works_without_the_notes(host: Layout):
    inside = population()
    (host.run / processes.PIDS).unlink()
    shutdown.stop(host)
    assert not dom0.traces(host)
    assert not any(processes.start_time(pid) for pid in inside)


def test_a_recycled_process_id_is_not_killed(host: Layout):
    """The notes name a living process, but with another start time."""
    sleeper = subprocess.Popen(("sleep", "60"))
    try:
        wrong = processes.Process(pid=sleeper.pid, started=1)
        assert processes.kill(wrong)
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_killed_service_comes_back_under_another_id(host: Layout):
    first = processes.recorded(host)["redis"]
    assert processes.kill(first)
    assert until(lambda: processes.recorded(host).get("redis", first) != first)


def test_a_program_that_is_missing_is_said_and_dom0_lives_on(host: Layout):
    with pytest.raises(Problem, match="No such file or directory: '/nowhere'"):
        service.start(host, service.Service(name="nothing", argv=("/nowhere",)))
    assert "redis" in processes.recorded(host)
    assert service.ask(host, {"do": "list"})["pids"]["redis"]


def test_the_networks_reach_each_other_as_drawn_and_nothing_else(host: Layout):
    def knocks(netns: str, address: str, port: int = 22) -> str:
        argv = ("ip", "netns", "exec", netns, sys.executable, "-c", KNOCK, address, str(port))
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()

    assert knocks(host.internet, "91.121.65.140") == "open"
    assert knocks(host.internet, "87.98.130.56") == "open"
    assert knocks(host.vpn, "91.121.65.140") == "open"  # across the Internet, like anybody
    assert knocks(host.vpn, "10.10.95.38") == "OSError"  # no tunnel before the rules open its port
    assert knocks(host.dom0, "198.51.100.7") == "ConnectionRefusedError"  # there, with nobody listening
    assert knocks(host.dom0, "10.10.95.2") == "TimeoutError"
    assert knocks(host.internet, "10.10.95.38") == "OSError"  # no route
    assert knocks(host.dom0, "192.0.2.1") == "OSError"  # the drawn Internet ends here, and says so


def test_root_enters_dom0_by_key_and_finds_dom0s_own_files(host: Layout):
    done = subprocess.run(
        (
            *("ip", "netns", "exec", host.vpn, "ssh", "-i", str(host.var / "keys" / "operator")),
            *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"),
            *("root@91.121.65.140", "hostname; ls /etc/fridu /root/.ssh; touch /etc/only-in-dom0 /run/only-in-dom0"),
        ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == [host.name, "/etc/fridu:", "host.toml", "/root/.ssh:", "authorized_keys"]
    assert not Path("/etc/only-in-dom0").exists()
    assert not Path("/run/only-in-dom0").exists()


def test_the_panels_user_reads_the_project_and_not_roots_files(host: Layout):
    def reads(path: str) -> bool:
        argv = enter.inside(host, "cat", path, uid=60990)
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0

    assert reads("/srv/fridu/pyproject.toml")
    assert not reads("/root/.ssh/authorized_keys")
    assert not reads(f"/srv/fridu/var/{host.name}/keys/owner")


# dom0 boots closed, to machines of its own too; here is no panel that would open it.
PREPARE = """
set -e
nft flush chain bridge fridu in && nft flush chain bridge fridu between && iptables -t raw -F fr-antispoof
ip link add xen-br2 type bridge forward_delay 0
ip addr add 10.10.2.1/24 dev xen-br2
ip link set xen-br2 up
mkdir -p /var/lib/fridu/volumes /run/tree
tar xzf /var/lib/fridu/images/tiny.tar.gz -C /run/tree
echo WEB-Dom > /run/tree/etc/hostname
install -m 600 /root/.ssh/authorized_keys /run/tree/root/.ssh/authorized_keys
truncate -s 64M /var/lib/fridu/volumes/WEB-Dom-root.img
mkfs.ext4 -q -F -d /run/tree /var/lib/fridu/volumes/WEB-Dom-root.img
dnsmasq --conf-file=/dev/null --user=root --port=0 --bind-dynamic --interface=xen-br2 --except-interface=lo \\
  --dhcp-authoritative --dhcp-range=10.10.2.0,static --dhcp-host=aa:bb:cc:0a:02:02,10.10.2.2 \\
  --dhcp-leasefile=/run/leases --pid-file=/run/dnsmasq.pid
"""
LIBVIRT = """
import json, pathlib, sys, libvirt
host = libvirt.open("lxc:///system")
domain = host.defineXML(pathlib.Path("/srv/fridu/tests/golden/domain-lxc.xml").read_text())
verb = sys.argv[1]
if verb == "start":
    domain.create()
elif verb == "off" and domain.isActive():
    try:
        domain.sendProcessSignal(1, libvirt.VIR_DOMAIN_PROCESS_SIGNAL_USR2)
    except libvirt.libvirtError as error:
        # libvirt has not been told init's process id yet, or the machine, or just its init, has ended
        if error.get_error_code() not in (libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_SYSTEM_ERROR):
            raise
mounts = [line for line in pathlib.Path("/proc/mounts").read_text().splitlines() if "/run/fridu/machines/" in line]
print(json.dumps({"active": domain.isActive(), "mounts": mounts}))
"""


@pytest.fixture
def machine(host: Layout) -> Callable[[str], dict[str, object]]:
    """WEB-Dom of the golden definition; call with start, off (as often as it takes) or look."""
    tiny.build(host.var / "lib" / "images" / "tiny.tar.gz", ROOT / "var" / "cache")
    enter.run(host, "sh", "-c", PREPARE)

    def do(verb: str) -> dict[str, object]:
        return dict(json.loads(enter.run(host, "/srv/fridu/.venv/bin/python", "-c", LIBVIRT, verb).stdout))

    return do


def answers(host: Layout, command: str) -> str:
    argv = ("ssh", "-i", f"/srv/fridu/var/{host.name}/keys/operator", "-o", "StrictHostKeyChecking=no")
    argv += ("-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "root@10.10.2.2")
    return subprocess.run(enter.inside(host, *argv, command), capture_output=True, text=True, check=False).stdout


def said(host: Layout, line: str) -> str:
    """What a shell line prints in dom0; where it fails, that much."""
    return subprocess.run(enter.inside(host, "sh", "-c", line), capture_output=True, text=True, check=False).stdout


def test_the_golden_definition_gives_a_machine_of_its_own(host: Layout, machine):
    machine("start")
    assert until(lambda: answers(host, "hostname") == "WEB-Dom\n")
    # root inside is nobody's root outside, and its memory is what the definition says
    assert answers(host, "cat /proc/self/uid_map").split() == ["0", "1048576", "65536"]
    assert answers(host, "head -n1 /proc/meminfo").split() == ["MemTotal:", "131072", "kB"]
    assert until(lambda: "<h1>WEB-Dom</h1>" in said(host, "curl -s http://10.10.2.2:8080/"))
    with_quit = "printf 'QUIT\\r\\n' | curl -s telnet://10.10.2.2:2525"
    assert until(lambda: said(host, with_quit).splitlines() == ["220 WEB-Dom ESMTP", "221 WEB-Dom closes"])


def test_power_off_inside_frees_the_volume_flushed_and_clean(host: Layout, machine):
    machine("start")
    assert until(lambda: answers(host, "echo kept > /root/note; sync; echo ok") == "ok\n")
    assert until(lambda: machine("off") == {"active": 0, "mounts": []})
    volume = host.var / "lib" / "volumes" / "WEB-Dom-root.img"
    checked = subprocess.run(("e2fsck", "-fn", str(volume)), capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    shown = subprocess.run(("debugfs", "-R", "cat /root/note", str(volume)), capture_output=True, text=True, check=True)
    assert shown.stdout == "kept\n"


def test_the_hook_does_no_harm_when_called_twice(host: Layout, machine):
    machine("start")
    again = ("sh", "-c", f"/etc/libvirt/hooks/lxc WEB-Dom prepare begin - < /srv/fridu/{GOLDEN.relative_to(ROOT)}")
    enter.run(host, *again)
    mounts = machine("look")["mounts"]
    assert isinstance(mounts, list)
    assert len(mounts) == 1


def test_the_hook_refuses_a_volume_that_something_else_has_mounted(host: Layout, machine):
    volume = "/var/lib/fridu/volumes/WEB-Dom-root.img"
    enter.run(host, "sh", "-c", f"mkdir /run/elsewhere; mount -o loop {volume} /run/elsewhere")
    with pytest.raises(Problem, match=f"The volume {volume} is mounted elsewhere"):
        machine("start")
    enter.run(host, "umount", "/run/elsewhere")
    machine("start")
    assert machine("look")["active"] == 1


def test_the_hook_names_a_missing_volume(host: Layout, machine):
    (host.var / "lib" / "volumes" / "WEB-Dom-root.img").unlink()
    with pytest.raises(Problem, match=r"The volume /var/lib/fridu/volumes/WEB-Dom-root.img is missing"):
        machine("start")
    assert machine("look") == {"active": 0, "mounts": []}


def test_stopping_ends_running_machines_and_their_loop_devices(host: Layout, machine):
    machine("start")
    assert traces()["loops"]
    shutdown.stop(host)
    assert not traces()["loops"]
    assert not dom0.traces(host)


def test_the_tiny_image_is_the_same_twice(tmp_path: Path):
    for name in ("one", "two"):
        tiny.build(tmp_path / name, ROOT / "var" / "cache")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def demo(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (str(ROOT / "bin" / "demo"), "--name", LAYOUT.name, *argv),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )


def test_it_refuses_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = demo("--detach", "--port", str(port))
    assert done.returncode == 1
    assert done.stderr.strip() == (
        f"bin/demo: Port {port} of this box is taken by another program; choose another: bin/demo --port {port + 1}"
    )
    assert not dom0.traces(LAYOUT)


def test_an_interrupted_start_leaves_nothing():
    before = traces()
    argv = (str(ROOT / "bin" / "demo"), "--name", LAYOUT.name, "--yes")
    starting = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert until(lambda: "keeper" in processes.recorded(LAYOUT))
    starting.send_signal(signal.SIGINT)
    _, complaint = starting.communicate(timeout=120)
    assert (starting.returncode, complaint) == (130, "bin/demo: Ended as asked; nothing is left running.\n")
    assert traces() == before


def test_a_start_that_fails_leaves_nothing(tmp_path: Path, monkeypatch, capsys):
    before = traces()
    monkeypatch.setattr(daemons, "start_panel", fails)
    assert main(["--name", LAYOUT.name, "--detach", "--yes"]) == 1
    assert capsys.readouterr().err == "bin/demo: The panel would not.\n"
    assert traces() == before


def fails(*_: object) -> None:
    raise Problem("The panel would not.")


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ((shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 30)), "has 1.0 GB free; the demo needs 2 GB"),
        ((cgroups, "MOUNTS", Path("/dev/null")), "offers no control groups for memory and CPU"),
        ((checks, "OS_RELEASE", Path("/dev/null")), "runs on Debian 12 (bookworm) and 13 (trixie)"),
        ((platform, "release", lambda: "5.10.0-9-amd64"), "can't mount with shifted user ids"),
    ],
    ids=["no disk", "no cgroups", "another system", "an old kernel"],
)
def test_it_refuses_a_box_that_cannot_carry_it(monkeypatch, capsys, broken, sentence: str):
    monkeypatch.setattr(*broken)
    assert main(["--name", LAYOUT.name, "--detach"]) == 1
    said = capsys.readouterr().err
    assert sentence in said
    assert len(said.splitlines()) == 1
    monkeypatch.undo()
    assert not dom0.traces(LAYOUT)


@pytest.mark.parametrize("wish", ["--detach", "--stop"])
def test_it_refuses_who_is_not_root(monkeypatch, capsys, wish: str):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["--name", LAYOUT.name, wish]) == 1
    said = capsys.readouterr().err
    assert "root" in said
    assert f"sudo bin/demo{' --stop' if wish == '--stop' else ''}" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("port", ["70000", "-1"])
def test_it_refuses_what_is_no_port(port: str):
    done = demo("--detach", "--port", port)
    assert done.returncode == 1
    assert f"{port} is no port" in done.stderr


def test_it_refuses_a_name_that_no_namespace_could_have():
    done = subprocess.run(
        (sys.executable, "-m", "demo", "--stop", "--name", "../etc"),
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 1
    assert "can't be called" in done.stderr


def test_stopping_what_does_not_run_says_so():
    done = demo("--stop")
    assert (done.returncode, done.stdout) == (0, "No demo is running.\n")
