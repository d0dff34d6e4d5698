"""What Xen does in its own way, with a machine of Fridu's: limits, kernels, console, diagnosis, check, rescue."""

from __future__ import annotations

import json
import time

import pytest

from tests.lab import reach
from tests.lab.dom0 import Dom0
from tests.life.story import BRIDGE, Story

pytestmark = pytest.mark.lab
MACHINE, OWN_KERNEL = "Ways", "Bring"
SENT = 1_000_000  # bytes
LIMIT_KBIT, CAP = 1000, 30
#: An image that brings a kernel and its initrd.
WITH_KERNEL = """
set -e; cd $(mktemp -d /var/tmp/image.XXXX) && mkdir boot; kernels=/var/lib/fridu/kernels
cp $kernels/guest-vmlinux boot/vmlinuz-6.1-own; cp $kernels/guest-initrd boot/initrd.img-6.1-own
zcat /var/lib/fridu/images/tiny-*.tar.gz > all.tar && tar -rf all.tar ./boot && gzip -1 all.tar
mv all.tar.gz /var/lib/fridu/imports/own.tar.gz
"""
IN_FORCE = f"""
from dom0 import host, limits
from machines.models import Machine
uuid = str(Machine.objects.get(name={MACHINE!r}).uuid)
print(limits.found(host.load(), [uuid])[uuid])
"""
CONSOLE = f"""
import threading
from dom0 import host
from dom0.console_link import Link
from machines.models import Machine
link, said = Link(host.load().libvirt, str(Machine.objects.get(name={MACHINE!r}).uuid)), b""
threading.Timer(60, link.close).start()
link.send(b"\\n")
while b"{MACHINE} login:" not in said:
    said += link.receive()
print("it greets")
"""


def test_a_machine_under_xen_keeps_to_its_limits_and_greets_at_its_console(dom0: Dom0) -> None:
    story = Story(stage=dom0, machine=MACHINE)
    story.settle()
    made(story)
    it_keeps_to_its_limits(dom0, story)
    assert "it greets" in dom0.manage(CONSOLE)


def test_a_machine_under_xen_is_diagnosed_checked_rescued_and_boots_its_own_kernel(dom0: Dom0) -> None:
    story = Story(stage=dom0, machine=MACHINE)
    story.settle()
    empty = story.traces()
    made(story)
    the_doctor_names_what_is_broken(dom0, story)
    story.write("kept")
    story.stop()
    code, said = dom0.told("check", MACHINE)
    assert code == 0, said
    assert "Its filesystem is in order." in said, said
    it_is_rescued(dom0, story)
    it_boots_the_kernel_of_its_image(dom0, story)

    story.delete()
    story.nothing_is_left(empty)


def made(story: Story) -> None:
    story.zone()
    story.publish()
    story.create()


def it_keeps_to_its_limits(dom0: Dom0, story: Story) -> None:
    """Measured: bytes that arrive, processor time that Xen counts; also after it restarted by itself."""
    free = moved(dom0), share(dom0, story)
    limits = (f"netin={LIMIT_KBIT}k", f"netout={LIMIT_KBIT}k", f"cpucap={CAP}", "cpuweight=512")
    dom0.fridu("limits", MACHINE, *limits)
    within_limits(dom0, story, free)
    before = dom0.manage(IN_FORCE)
    booted = story.inside("cat /proc/sys/kernel/random/boot_id")
    dom0.inside("reboot")
    story.until(lambda: dom0.inside("cat /proc/sys/kernel/random/boot_id") not in (None, f"{booted}\n"), "it restarted")
    assert dom0.manage(IN_FORCE) == before
    within_limits(dom0, story, free)
    dom0.fridu("limits", MACHINE, "netin=none", "netout=none", "cpucap=none", "cpuweight=none")


def within_limits(dom0: Dom0, story: Story, free: tuple[tuple[float, float], float]) -> None:
    """`free`: what it took before it had limits, so that they are what holds it back."""
    (freely_in, freely_out), freely = free
    shortest = SENT * 8 / LIMIT_KBIT / 1000
    into, out = moved(dom0)
    used = share(dom0, story)
    print(f"in {freely_in:.1f} then {into:.1f} s, out {freely_out:.1f} then {out:.1f} s")
    print(f"processor {freely:.2f} then {used:.2f}")
    assert into > 0.85 * shortest
    assert out > 0.85 * shortest
    assert into < 2 * shortest
    assert out < 2 * shortest
    assert max(freely_in, freely_out) < 0.6 * shortest
    assert freely > CAP / 100 + 0.1
    assert CAP / 100 - 0.06 < used < CAP / 100 + 0.04


def moved(dom0: Dom0) -> tuple[float, float]:
    """Seconds that SENT bytes take into the machine and out of it, beyond a connection that carries none."""
    empty = min(timed(dom0, "true") for _ in range(3))
    into = timed(dom0, "cat > /dev/null", "x" * SENT) - empty
    return into, timed(dom0, f"head -c {SENT} /dev/zero | tr '\\0' x") - empty


def timed(dom0: Dom0, command: str, stdin: str = "") -> float:
    began = time.monotonic()
    assert dom0.inside(command, stdin) is not None
    return time.monotonic() - began


def share(dom0: Dom0, story: Story) -> float:
    """Of one processor, while something in it wants all."""
    story.inside("(while :; do :; done) >/dev/null 2>&1 & echo $! > /tmp/busy")
    look = f"cat /proc/uptime; virsh dominfo {MACHINE}"
    (began, used), (ended, then) = [ticked(dom0.run(f"sleep {s}; {look}")) for s in (2, 12)]
    story.inside("kill $(cat /tmp/busy)")
    return (then - used) / (ended - began)


def ticked(said: str) -> tuple[float, float]:
    """Dom0's clock and the machine's processor time, in seconds."""
    return float(said.split()[0]), float(said.split("CPU time:")[1].split()[0].rstrip("s"))


def the_doctor_names_what_is_broken(dom0: Dom0, story: Story) -> None:
    code, said = dom0.told("doctor", MACHINE)
    assert code == 0, said
    links = json.loads(dom0.run(f"ip -json link show master {BRIDGE}"))
    card = next(link["ifname"] for link in links)
    dom0.run(f"ip link set {card} nomaster")
    code, said = dom0.told("doctor", MACHINE)
    assert code == 1, said
    assert BRIDGE in said, said
    print(said)
    dom0.run(f"ip link set {card} master {BRIDGE}")
    story.answers()


def it_is_rescued(dom0: Dom0, story: Story) -> None:
    dom0.fridu("rescue", MACHINE)
    story.answers()
    assert story.read() == "nothing"
    disks = story.inside("cd /sys/block && echo xvd*").split()
    assert len(disks) == 2, disks
    found = [story.inside(f"mount -o ro /dev/{d} /mnt 2>/dev/null; cat /mnt/root/note; umount /mnt") for d in disks]
    assert "kept" in found, found
    dom0.fridu("rescue", MACHINE, "--end")
    dom0.told("start", MACHINE)
    story.answers()
    assert story.read() == "kept"
    assert dom0.run("lvs --noheadings -o lv_name").split() == [f"{MACHINE}-root"]


def it_boots_the_kernel_of_its_image(dom0: Dom0, story: Story) -> None:
    reach.run(dom0.host, WITH_KERNEL, timeout_s=600)
    story.until(lambda: "own.tar.gz" in dom0.fridu("image"), "the host has told of the archive")
    dom0.fridu("image", "add", "own", "file=own.tar.gz")
    dom0.fridu("image", "kernel", "own", "vmlinuz-6.1-own")
    dom0.fridu("create", f"vmname={OWN_KERNEL}", "vmip=10.10.4.3", "image=own", "boot=image", "vmroot=256")
    greets = "exec 3<>/dev/tcp/10.10.4.3/22 && head -c 3 <&3"
    arrives = f"for n in $(seq 60); do timeout 3 bash -c '{greets}' 2>/dev/null && break; sleep 1; done"
    assert dom0.run(arrives) == "SSH"
    assert "own-vmlinuz-6.1-own" in dom0.run(f"virsh dumpxml {OWN_KERNEL}")
    dom0.fridu("delete", OWN_KERNEL)
    dom0.fridu("image", "delete", "own")
