"""The story itself. All that is done is `fridu …` on the host; all that is seen of the machine is seen by SSH,

through a port of dom0 that is published for it, from outside.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

#: Two names, for loop devices are told by them, and all dom0s of one box show each other theirs.
MACHINE, OTHER_MACHINE = "Life", "Short"
ADDRESS = "10.10.4.2"
ZONE, NET, GATEWAY, BRIDGE = "zLife", "10.10.4.0/24", "10.10.4.1", "xen-br4"
PORT = 2201
PUBLISHED = f"CreateApp NAME=LifeSSH ZONE={ZONE} EXT=tcp:{PORT} INT={ADDRESS}:22\n"
ROOT_MIB = 96
OPERATOR = "brendan"
#: What the host's owner says once: who he is, which key is let in, what a machine gets.
PEOPLE = """
from accounts.models import Owner, SSHKey, User
from accounts.services import key_add
from audit.log import Actor
from hosts.models import Host
from machines.models import Image, SiteDefaults
from zones.services import address_sync
user = User.objects.get(username={operator!r})
actor = Actor(id=user.pk, name=user.username)
key_add(actor, user, name="laptop", line={key!r})
host = Host.objects.get()
address_sync(host)
SiteDefaults.objects.update_or_create(host=host, defaults=dict(image=Image.objects.get(), **{defaults!r}))
"""


class Stage(Protocol):
    """A host, as the story needs it."""

    external: str  # dom0's public address
    defaults: dict[str, object]  # of a new machine, as the host's owner has set them
    patience_s: float  # for what a machine takes from its start to SSH

    def fridu(self, *words: str) -> str:
        """What `fridu words`, approved beforehand, says; it must end well."""

    def run(self, line: str) -> str:
        """What a shell line says as root on dom0, whether it fails or not."""

    def manage(self, code: str) -> str:
        """What Python on dom0 prints, with the panel's rows at hand; it must end well."""

    def inside(self, command: str) -> str | None:
        """What a command of root's says in the machine, by SSH to dom0's published port; None where nobody answers."""

    def public_key(self) -> str:
        """The key by which `inside` comes in."""

    def restart(self) -> None:
        """Dom0 powered off in good order, and on again."""


@dataclass(kw_only=True)
class Story:
    stage: Stage
    machine: str = MACHINE

    def settle(self) -> None:
        """The image, and what a machine gets."""
        self._told("image", "add", "tiny", "file=tiny.tar.gz")
        self.people()

    def zone(self) -> None:
        self._told(
            "zone", "create", f"name={ZONE}", f"net={NET}", f"external={self.stage.external}", f"bridge={BRIDGE}"
        )

    def people(self) -> None:
        stage = self.stage
        key = " ".join(stage.public_key().split()[:2])
        stage.manage(PEOPLE.format(operator=OPERATOR, key=key, defaults=stage.defaults))

    def publish(self) -> None:
        """By a rule file, as the seed had it: the zone is there already, the port is new."""
        self.wish(PUBLISHED)
        self._apply()

    def create(self) -> None:
        before = time.monotonic()
        self._told("create", f"vmname={self.machine}", f"vmip={ADDRESS}")
        self.answers()
        print(f"create to SSH through the published port: {time.monotonic() - before:.1f} s", flush=True)
        assert ADDRESS in self.stage.run("cat /run/fridu/dnsmasq/*.leases")
        assert self.inside("hostname") == self.machine
        assert self.inside("id -u") == "0"

    def stop(self) -> None:
        self._told("stop", self.machine)
        assert self.stage.inside("true") is None

    def start(self) -> None:
        self._told("start", self.machine)
        self.answers()

    def answers(self) -> None:
        self.until(lambda: self.stage.inside("true") is not None, f"{self.machine} answers at port {PORT}")

    def inside(self, command: str) -> str:
        said = self.stage.inside(command)
        assert said is not None, command
        return said.strip()

    def write(self, text: str) -> None:
        self.inside(f"echo {text} > /root/note && sync")

    def read(self) -> str:
        return self.inside("cat /root/note 2>/dev/null || echo nothing")

    def grow(self) -> None:
        """With the machine off: the volume, then what lies on it; both are there at the next start."""
        mib = self.root_mib()
        self.stop()
        self._told("change", self.machine, f"vmroot={2 * ROOT_MIB}")
        self.start()
        assert self.root_mib() > mib + ROOT_MIB // 2

    def root_mib(self) -> int:
        return int(self.inside("df -m / | tail -n 1").split()[1])

    def snapshot(self, label: str) -> None:
        self._told("snapshot", "take", self.machine, label, "expires=7d")

    def restore(self, label: str) -> None:
        self._told("snapshot", "restore", self.machine, label)
        self.answers()

    def forget(self, label: str) -> None:
        self._told("snapshot", "delete", self.machine, label)

    def reinstall(self) -> None:
        """Name, address and key stay: it answers as before."""
        self._told("reinstall", self.machine)
        self.answers()
        assert self.inside("hostname") == self.machine

    def restart(self) -> None:
        began = time.monotonic()
        self.stage.restart()
        self.answers()
        print(f"dom0 restarted, and SSH into the machine: {time.monotonic() - began:.1f} s", flush=True)

    def delete(self) -> None:
        """Its published port, then the machine, then its zone; then the rules of all that."""
        self.wish("")
        self._told("delete", self.machine)
        self._told("zone", "delete", ZONE)
        self._apply()

    def nothing_is_left(self, before: dict[str, str]) -> None:
        after = self.traces()
        changed = {room: (before[room], text) for room, text in after.items() if text != before[room]}
        assert not changed, changed

    def traces(self) -> dict[str, str]:
        """Everything on dom0 that could name a machine, a zone or an address of theirs."""
        run = self.stage.run
        return {
            "domains": run("virsh -q list --all --name"),
            "volumes": run("lvs --noheadings -o lv_name 2>/dev/null; ls /var/lib/fridu/volumes 2>/dev/null"),
            "loops": run(f"losetup --list --noheadings --output BACK-FILE | grep {self.machine}-"),
            "links": run("ls /sys/class/net"),
            "files": run(f"cd /var/lib/fridu/state && find . -name '*{self.machine}*' -o -name '*10.10.4*'"),
            "leases": run(f"grep -rs '{ADDRESS}\\|{self.machine}' /var/lib/fridu/state /run/fridu --include=*lease*"),
            "members": run('nft list sets | grep -o \'"fr[^"]*"\''),
            "rules": run(f"iptables-save | grep '10\\.10\\.4\\.\\|{PORT}'; ipset save | grep '10\\.10\\.4\\.'"),
        }

    def wish(self, text: str) -> None:
        """The wishes of the firewall are those of a rule file, exactly."""
        stage = self.stage
        zone = f"CreateZone NAME={ZONE} NIC=eth0 EXT={stage.external} BR={BRIDGE} INT={GATEWAY} MASK=255.255.255.0\n"
        stage.run(f"cat > /tmp/life.rules <<'END'\n{zone}{text}END")
        self._told("import", "/tmp/life.rules", "exact=yes")

    def _apply(self) -> None:
        """Put on the host and kept."""
        self._told("firewall", "apply", "--confirm-within", "600", "--reason", "the story")
        self._told("firewall", "confirm")

    def _told(self, *words: str) -> str:
        began = time.monotonic()
        said = self.stage.fridu(*words)
        print(f"{time.monotonic() - began:6.1f} s  fridu {' '.join(words)}", flush=True)
        return said

    def until(self, so: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + self.stage.patience_s
        while not so():
            assert time.monotonic() < deadline, f"not true after {self.stage.patience_s:g} s: {what}"
            time.sleep(0.2)


def live(stage: Stage) -> None:
    """All of it, in order."""
    story = Story(stage=stage)
    story.settle()
    empty = story.traces()
    story.zone()
    story.publish()
    story.create()
    story.write("kept")
    story.stop()
    story.start()
    assert story.read() == "kept"
    story.grow()
    assert story.read() == "kept"
    story.snapshot("before")
    story.write("broken")
    story.restore("before")
    assert story.read() == "kept"
    story.forget("before")
    story.restart()
    assert story.read() == "kept"
    story.reinstall()
    assert story.read() == "nothing"
    story.delete()
    story.nothing_is_left(empty)


def live_shortly(stage: Stage) -> None:
    """Made, reached, stopped, started, deleted."""
    story = Story(stage=stage, machine=OTHER_MACHINE)
    story.settle()
    empty = story.traces()
    story.zone()
    story.publish()
    story.create()
    story.write("kept")
    story.stop()
    story.start()
    assert story.read() == "kept"
    story.delete()
    story.nothing_is_left(empty)
