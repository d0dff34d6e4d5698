"""dom0's services: their configuration, their order, and when each counts as up."""

from __future__ import annotations

import contextlib
import http.client
import os
import secrets
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from demo import enter, processes, service, vpn
from demo.layout import (
    DOM0_ADDRESS,
    FAILOVER_ADDRESS,
    PANEL_GID,
    PANEL_PORT,
    PANEL_UID,
    PYTHON,
    REDIS_SOCKET,
    REDIS_UID,
    UPLOADS,
    VPN_ADDRESS,
    Layout,
    Problem,
)
from demo.service import Service

SLOW_BOX_S = 300.0  # what Django may take to come up on one emulated processor, six times at once
QUEUES = ("power", "work", "net")
HOST_KEY = "/var/lib/fridu/dropbear_ed25519_host_key"

KNOCK = """
import socket, sys, time
deadline = time.monotonic() + 20
for address in sys.argv[1:]:
    while time.monotonic() < deadline:
        try:
            socket.create_connection((address, 22), timeout=1).close()
            break
        except OSError:
            time.sleep(0.02)
    else:
        print(address)
"""
HOST_TOML = """\
# Written by bin/demo at every start: what root may touch on this dom0.
name = "{name}"
libvirt = "lxc:///system"
volumes = "/var/lib/fridu/volumes"
uploads = "{uploads}"
vpn_interface = "tun0"
vpn_address = "{vpn}"
vpn_network = "10.10.95.0/24"
vpn_port = {vpn_port}
vpn_clients = "{vpn_clients}"
vpn_management = "{vpn_management}"
panel_port = {panel_port}

[[nic]]
name = "eth0"
addresses = ["{first}", "{failover}"]
may_add = true
"""
LIBVIRTD_CONF = """\
unix_sock_group = "root"
unix_sock_rw_perms = "0770"
unix_sock_ro_perms = "0770"
auth_unix_ro = "none"
auth_unix_rw = "none"
log_outputs = "3:stderr"
"""


def configure(layout: Layout) -> None:
    """Write the files that the services read, in the state folder; to be done before dom0 is up."""
    (layout.var / "etc" / "host.toml").write_text(
        HOST_TOML.format(
            name=layout.name,
            uploads=UPLOADS,
            vpn=VPN_ADDRESS,
            vpn_port=vpn.PORT,
            vpn_clients=vpn.CLIENTS,
            vpn_management=vpn.MANAGEMENT,
            panel_port=PANEL_PORT,
            first=DOM0_ADDRESS,
            failover=FAILOVER_ADDRESS,
        )
    )
    libvirt = layout.var / "libvirt" / "etc"
    (libvirt / "libvirtd.conf").write_text(LIBVIRTD_CONF)
    (libvirt / "hooks").mkdir(exist_ok=True)
    hook = libvirt / "hooks" / "lxc"
    hook.write_bytes((layout.project / "dom0" / "hook.py").read_bytes())
    hook.chmod(0o755)
    _driver(layout)
    vpn.configure(layout)
    redis = layout.run / "redis"
    redis.mkdir(exist_ok=True)
    os.chown(redis, REDIS_UID, PANEL_GID)
    redis.chmod(0o750)
    _panel_folder(layout)


def _driver(layout: Layout) -> None:
    """libvirtd loads every driver it finds; where the box has qemu's, that one would want users of its own."""
    found = sorted(Path("/usr/lib").glob("*/libvirt/connection-driver/libvirt_driver_lxc.so"))
    if not found:
        raise Problem("libvirt's lxc driver is missing; the package libvirt-daemon-driver-lxc brings it.")
    drivers = layout.run / "drivers"
    drivers.mkdir(exist_ok=True)
    (drivers / found[0].name).symlink_to(found[0])


def _panel_folder(layout: Layout) -> None:
    folder = layout.var / "panel"
    uploads = folder / Path(UPLOADS).name
    uploads.mkdir(exist_ok=True)
    for own in (folder, uploads):
        os.chown(own, PANEL_UID, PANEL_GID)
        own.chmod(0o700)
    key = folder / "secret-key"
    if not key.exists():
        key.touch(mode=0o400)
        key.write_text(secrets.token_urlsafe(48) + "\n")
        os.chown(key, PANEL_UID, PANEL_GID)


def start_host(layout: Layout) -> None:
    """What is there without the panel: the queue, dom0's boot files, libvirt, SSH. Raises Problem."""
    _redis(layout)
    if (layout.project / "dom0" / "boot.py").exists():
        enter.run(layout, str(PYTHON), "-m", "dom0.boot")
        _guards(layout)
    _libvirtd(layout)
    with contextlib.suppress(Problem):  # a machine that can't be started keeps nothing else from it; the panel shows it
        enter.run(layout, str(PYTHON), "-m", "dom0.autostart", timeout_s=SLOW_BOX_S)
    _dropbear(layout)
    vpn.start_server(layout)


def start_panel(layout: Layout, listener: int) -> None:
    """Database, panel, workers, watcher. `listener`: the socket for the browser. Raises Problem."""
    env = layout.environment
    enter.run(layout, str(PYTHON), "manage.py", "migrate", "--verbosity=0", uid=PANEL_UID, timeout_s=SLOW_BOX_S)
    _panel(layout, listener)
    for queue in QUEUES:
        argv = (
            *(str(PYTHON), "-m", "celery", "-A", "fridu_site", "worker", "--pool=solo", "--loglevel=INFO"),
            *("--without-gossip", "--without-mingle", f"--queues=dom0.{layout.name}.{queue}"),
            f"--hostname={queue}@{layout.name}",
        )
        service.start(layout, Service(name=f"worker-{queue}", argv=argv, env=env))
    console = Service(name="console", argv=(str(PYTHON), "-m", "dom0.console"), env=env)
    service.start(layout, console)
    service.start(layout, Service(name="watch", argv=(str(PYTHON), "manage.py", "watch"), env=env))


def _redis(layout: Layout) -> None:
    program = layout.run / "redis-server"  # the same program as redis-check-rdb, which goes by its name
    program.symlink_to("/usr/bin/redis-check-rdb")
    argv = (
        *("/run/fridu/redis-server", "--port", "0", "--unixsocket", REDIS_SOCKET, "--unixsocketperm", "770"),
        *("--save", "", "--appendonly", "no", "--dir", "/run/fridu/redis", "--daemonize", "no"),
        *("--slowlog-log-slower-than", "-1"),  # it would keep keys typed on a console
    )
    service.start(layout, Service(name="redis", argv=argv, uid=REDIS_UID, gid=PANEL_GID))
    _until(layout, "redis", 10, lambda: "PONG" in _quietly(layout, "redis-cli", "-s", REDIS_SOCKET, "ping"))


def _guards(layout: Layout) -> None:
    """Two, and before anybody can apply rules; whichever dies is there again at once."""
    for name in ("a", "b"):
        argv = (str(PYTHON), "-m", "dom0.guard", name)
        beats = f"/run/fridu/guard/{name}"
        service.start(layout, Service(name=f"guard-{name}", argv=argv, longest_wait_s=0.2, beats=beats))


def _libvirtd(layout: Layout) -> None:
    env = {"LIBVIRT_DRIVER_DIR": "/run/fridu/drivers"}
    service.start(layout, Service(name="libvirtd", argv=("/usr/sbin/libvirtd",), env=env))
    keeper = processes.recorded(layout)["keeper"].pid
    socket = Path(f"/proc/{keeper}/root/run/libvirt/libvirt-sock")
    _until(layout, "libvirtd", 30, socket.is_socket)


def _dropbear(layout: Layout) -> None:
    if not (layout.var / "lib" / Path(HOST_KEY).name).exists():
        enter.run(layout, "dropbearkey", "-t", "ed25519", "-f", HOST_KEY)
    argv = ("/usr/sbin/dropbear", "-F", "-E", "-s", "-r", HOST_KEY, "-p", "22", "-P", "/run/dropbear.pid")
    service.start(layout, Service(name="dropbear", argv=argv))
    sockets = Path(f"/proc/{processes.recorded(layout)['keeper'].pid}/net/tcp")
    _until(layout, "dropbear", 30, lambda: f":{22:04X} 00000000:0000 0A" in sockets.read_text())


def _panel(layout: Layout, listener: int) -> None:
    argv = (
        *(str(PYTHON), "-m", "gunicorn", "fridu_site.wsgi:application", "--workers=2", "--threads=4"),
        *("--worker-class=gthread", "--worker-tmp-dir=/dev/shm", "--timeout=60", "--graceful-timeout=5"),
        *("--no-control-socket", "--bind=fd://{passed}", "--bind=fd://{listening}"),
    )
    panel = Service(
        name="panel", argv=argv, uid=PANEL_UID, env=layout.environment, listens=f"{VPN_ADDRESS}:{PANEL_PORT}"
    )
    service.start(layout, panel, pass_fd=listener)


def panel_answers(layout: Layout, port: int) -> None:
    """Wait for the panel's first page. Raises Problem quoting its log."""

    def answers() -> bool:
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        with contextlib.suppress(OSError, http.client.HTTPException):
            link.request("GET", "/", headers={"Host": f"localhost:{port}"})
            return link.getresponse().status < 500
        return False

    _until(layout, "panel", SLOW_BOX_S, answers)


def workers_answer(layout: Layout) -> None:
    """Wait until every worker listens at its queue. Raises Problem quoting a log."""

    def listening() -> bool:
        clients = _quietly(layout, "redis-cli", "-s", REDIS_SOCKET, "client", "list")
        return clients.count("cmd=brpop") >= len(QUEUES)

    _until(layout, "worker-work", SLOW_BOX_S, listening)


def silent_machines(layout: Layout, addresses: list[str]) -> list[str]:
    """Wait until SSH of all of them can be reached from dom0; returns those that stay silent for 20 s.

    Their root may have a reason of its own, so that is no Problem.
    """
    return enter.run(layout, "/usr/bin/python3", "-c", KNOCK, *addresses).stdout.split()


def _quietly(layout: Layout, *argv: str) -> str:
    done = subprocess.run(enter.inside(layout, *argv), capture_output=True, text=True, timeout=20, check=False)
    return done.stdout


def _until(layout: Layout, name: str, patience_s: float, so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + patience_s
    while not so():
        if time.monotonic() > deadline:
            log = layout.log / f"{name}.log"
            said = log.read_text(errors="replace").strip()[-1500:] if log.exists() else ""
            raise Problem(f"{name} does not answer after {patience_s:g} s. Its log ends with:\n{said}")
        time.sleep(0.02)
