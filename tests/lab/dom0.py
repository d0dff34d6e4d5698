"""A Xen dom0 of the lab set up after docs/install.md, with SQLite in PostgreSQL's place, as the life's stage."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

from tests.lab import reach
from tests.lab.emulator import Running
from tests.lab.places import INSIDE, PROJECT, Problem
from tests.life.story import OPERATOR, ROOT_MIB

#: The admin VPN, facts, units. The kernels folder holds Debian's cloud kernel, under the names it has there.
SITE = """
cat > /etc/systemd/system/admin-vpn.service <<'END'
[Unit]
Before=fridu-boot.service fridu-guard@a.service fridu-guard@b.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'ip tuntap add dev tun0 mode tun && ip addr add 10.10.95.38/24 dev tun0 && ip link set tun0 up'
[Install]
WantedBy=multi-user.target
END
systemctl enable -q --now admin-vpn
id fridu-panel >/dev/null 2>&1 ||
  useradd --system --user-group --home-dir /nonexistent --shell /usr/sbin/nologin fridu-panel
install -d -m 0755 /etc/fridu /var/lib/fridu /var/lib/fridu/imports
cd /var/lib/fridu && ln -f images/tiny.tar.gz imports/tiny.tar.gz && rm images/tiny.tar.gz
cd kernels && ln -f guest-vmlinux vmlinuz-guest && ln -f guest-initrd initrd.img-guest
sed '0,/^name = .*/s||name = "dom0"|; s|^libvirt = .*|libvirt = "xen:///system"|; s|^# volume_groups|volume_groups|
     s|^reserved_memory_mib.*|reserved_memory_mib = 64|; s|^addresses = .*|addresses = ["10.0.2.15"]|' \\
  /opt/fridu/deploy/host.toml > /etc/fridu/host.toml
echo not-a-secret-but-long-enough-for-a-host-thrown-away-after-a-test > /etc/fridu/secret-key
install -d -m 0700 -o fridu-panel -g fridu-panel /var/lib/fridu-panel
sed 's|^FRIDU_DATABASE_URL=.*|FRIDU_DATABASE_URL=sqlite:////var/lib/fridu-panel/panel.sqlite3|' \\
  /opt/fridu/deploy/panel.env > /etc/fridu/panel.env
for name in lxc libxl; do install -D -m 0755 /opt/fridu/dom0/hook.py /etc/libvirt/hooks/$name; done
systemctl restart libvirtd
cp /opt/fridu/deploy/systemd/*.service /etc/systemd/system/ && systemctl daemon-reload
systemctl enable -q --now redis-fridu fridu-guard@a fridu-guard@b
systemctl enable -q --now fridu-boot
"""
#: Where the panel's own user may write too; root's files beside it get the owner that it has.
DATABASE = "/var/lib/fridu-panel/panel.sqlite3"
WORK = "fridu-watch fridu-worker@power fridu-worker@work fridu-worker@net"
PANEL = f"systemctl enable -q --now {WORK} fridu-autostart"
#: Each waits at its queue.
WORKERS = "redis-cli -s /run/fridu/redis/redis.sock client list | grep -c cmd=brpop"
#: `fridu` again and again: each is a fork of one Python that has the panel's code loaded. Emulated, loading takes 20 s.
WARM = ".venv/bin/python -m tests.lab.warm"
PORT = "published"


def set_up(host: Running) -> None:
    """From a host just woken to one whose workers wait."""
    reach.bring_tree(host)
    reach.run(host, f"tar -C {INSIDE} -xzf -", stdin=_compiled(), timeout_s=300)
    reach.run(host, f"set -e; {SITE}", timeout_s=400)
    reach.run(host, f"cat > {DATABASE} && chown fridu-panel: {DATABASE}", stdin=_database())
    reach.run(host, PANEL, timeout_s=600)
    _listen(host)


def _listen(host: Running) -> None:
    reach.until(host, WORKERS, patience_s=600, said="3")


class Dom0:
    """tests.life.story's Stage."""

    external = "10.0.2.15"
    patience_s = 240.0
    defaults: dict[str, object] = {
        "memory_mib": 128,
        "root_mib": ROOT_MIB,
        "volume_group": "vg0",
        "kernel": "vmlinuz-guest",
    }

    def __init__(self, host: Running) -> None:
        self.host = host
        self.key = host.folder / "life-key"

    def awake(self) -> None:
        """Wait until its workers wait, and have `fridu` at hand."""
        _listen(self.host)
        argv = reach.argv(self.host, f"cd {INSIDE} && set -a && . /etc/fridu/panel.env && {WARM}")
        self._warm = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=self.host.folder, bufsize=1
        )
        self._asked(
            {"code": "from hosts.models import Host\nimport time\nwhile not Host.objects.exists(): time.sleep(1)"}
        )

    def fridu(self, *words: str) -> str:
        code, said = self.told(*words)
        if code != 0:
            raise Problem(f"On {self.host.name}, fridu {' '.join(words)} ended with {code}: {said}")
        return said

    def told(self, *words: str) -> tuple[int, str]:
        """How `fridu words`, approved beforehand, ended, and what it said."""
        return self._asked({"words": ["--as", OPERATOR, *words, "--yes"]})

    def _asked(self, wish: dict[str, object]) -> tuple[int, str]:
        assert self._warm.stdin is not None
        assert self._warm.stdout is not None
        self._warm.stdin.write(json.dumps(wish) + "\n")
        self._warm.stdin.flush()
        line = self._warm.stdout.readline()
        if not line:
            raise Problem(f"{self.host.name} no longer takes commands.")
        code, said = json.loads(line)
        return int(code), str(said)

    def run(self, line: str) -> str:
        return reach.run(self.host, line, check=False, timeout_s=120).stdout

    def works(self, *, wanted: bool) -> None:
        """Start or stop the workers and the watcher."""
        reach.run(self.host, f"systemctl {'start' if wanted else 'stop'} {WORK}", timeout_s=600)
        if wanted:
            _listen(self.host)

    def manage(self, code: str) -> str:
        status, said = self._asked({"code": code})
        if status != 0:
            raise Problem(f"On {self.host.name}, Python ended with {status}: {said}")
        return said

    def cut(self, code: str) -> None:
        """Python on dom0 that ends its power; nobody answers."""
        assert self._warm.stdin is not None
        self._warm.stdin.write(json.dumps({"code": code}) + "\n")
        self._warm.stdin.flush()

    def inside(self, command: str, stdin: str = "") -> str | None:
        argv = ("ssh", "-p", str(self.host.ports[PORT]), "-i", str(self.key), "-o", "BatchMode=yes")
        more = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR")
        wait = ("-o", "ConnectTimeout=15", "root@127.0.0.1", command)
        try:
            done = subprocess.run(
                (*argv, *more, *wait), input=stdin, capture_output=True, text=True, timeout=90, check=False
            )
        except subprocess.TimeoutExpired:
            return None
        return None if done.returncode == 255 else done.stdout

    def public_key(self) -> str:
        if not self.key.exists():
            subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)), check=True)
        return self.key.with_suffix(".pub").read_text()

    def restart(self) -> None:
        """By systemd, in good order; the emulated computer then starts anew with the same disks."""
        boot = self.boot()
        reach.run(self.host, "systemctl reboot", check=False)
        self.comes_back(boot)

    def comes_back(self, boot: str) -> None:
        """Wait until it has started anew since `boot`, and its workers wait."""
        deadline = time.monotonic() + 600
        while self.boot(wait=True) == boot:
            if time.monotonic() > deadline:
                raise Problem(f"{self.host.name} did not restart.")
        self.awake()

    def boot(self, *, wait: bool = False) -> str:
        """The kernel's name for the time since it started."""
        if wait:
            (self.host.folder / "ssh.sock").unlink(missing_ok=True)  # the connection of the former life
            reach.wait(self.host, patience_s=600)
        return reach.run(self.host, "cat /proc/sys/kernel/random/boot_id", check=False).stdout


def _compiled() -> bytes:
    """The project's code as Python compiles it. Emulated that takes minutes, and every worker would do it at once."""
    python, out = str(PROJECT / ".venv/bin/python"), io.BytesIO()
    rooms = [path for path in PROJECT.iterdir() if (path / "__init__.py").exists() or path.name == "tests"]
    subprocess.run((python, "-m", "compileall", "-q", *map(str, rooms)), check=True, timeout=300)
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as tar:
        for folder in (each for room in rooms for each in room.rglob("__pycache__")):
            tar.add(folder, str(folder.relative_to(PROJECT)))
    return out.getvalue()


def _database() -> bytes:
    """An empty panel with one operator, made here for the same reason."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "panel.sqlite3"
        env = {**os.environ, "FRIDU_DATABASE_URL": f"sqlite:///{path}", "FRIDU_BROKER_URL": "memory://"}
        for words in (("migrate", "--verbosity=0"), ("createoperator", OPERATOR)):
            argv = (str(PROJECT / ".venv/bin/python"), "manage.py", *words)
            subprocess.run(argv, check=True, timeout=300, env=env, cwd=PROJECT, stdout=subprocess.DEVNULL)
        return path.read_bytes()
