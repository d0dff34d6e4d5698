"""Real Xen: the hypervisor answers, and a PV guest on a volume starts from our own kernel."""

from __future__ import annotations

import time

import pytest

from tests.lab.conftest import Lab

pytestmark = pytest.mark.lab

BRIDGE = """
ip link add xen-br1 type bridge && ip addr add 10.10.1.1/24 dev xen-br1 && ip link set xen-br1 up
dnsmasq --interface=xen-br1 --bind-interfaces --except-interface=lo --pid-file=/run/lab-dnsmasq.pid --no-hosts \
  --dhcp-range=10.10.1.0,static,1h --dhcp-host=aa:bb:cc:dd:01:02,10.10.1.2,WEB --dhcp-leasefile=/run/lab-leases
"""
DISK = """
lvcreate -q -y -Wy -Zy -L 96M -n WEB-root --addtag fridu.machine=WEB vg0
mkfs.ext4 -q /dev/vg0/WEB-root && mount /dev/vg0/WEB-root /mnt
tar -C /mnt --numeric-owner -xzf /var/lib/fridu/images/tiny.tar.gz
ssh-keygen -q -t ed25519 -N '' -f /root/guest-key
install -m 600 /root/guest-key.pub /mnt/root/.ssh/authorized_keys
echo WEB > /mnt/etc/hostname && umount /mnt
"""
SITE = """
useradd --system --user-group --home-dir /nonexistent --shell /usr/sbin/nologin fridu-panel
install -d -m 0755 /etc/fridu /var/lib/fridu
sed '0,/^name = .*/s||name = "dom0"|; s|^libvirt = .*|libvirt = "xen:///system"|' \
  /opt/fridu/deploy/host.toml > /etc/fridu/host.toml
echo not-a-secret-but-long-enough-for-a-host-thrown-away-after-a-test > /etc/fridu/secret-key
sed 's|^FRIDU_DATABASE_URL=.*|FRIDU_DATABASE_URL=sqlite:////var/lib/fridu/panel.sqlite3|' \
  /opt/fridu/deploy/panel.env > /etc/fridu/panel.env
cp /opt/fridu/deploy/systemd/*.service /etc/systemd/system/ && systemctl daemon-reload
"""
# The interface's name is ours: libvirt drops one that begins with “vif” without a word.
GUEST = """
<domain type='xen'>
  <name>WEB</name>
  <memory unit='MiB'>128</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='xenpv'>linux</type>
    <kernel>/var/lib/fridu/kernels/guest-vmlinux</kernel>
    <initrd>/var/lib/fridu/kernels/guest-initrd</initrd>
    <cmdline>root=/dev/xvda console=hvc0 quiet mitigations=off</cmdline>
  </os>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <disk type='block' device='disk'>
      <driver name='phy'/>
      <source dev='/dev/vg0/WEB-root'/>
      <target dev='xvda' bus='xen'/>
    </disk>
    <interface type='bridge'>
      <mac address='aa:bb:cc:dd:01:02'/>
      <source bridge='xen-br1'/>
      <target dev='fr1'/>
    </interface>
    <console type='pty'><target type='xen'/></console>
  </devices>
</domain>
"""
VIRSH = "timeout 100 virsh -q -c xen:///system"
SSH = "ssh -i /root/guest-key -o BatchMode=yes -o StrictHostKeyChecking=no -o ConnectTimeout=20 root@10.10.1.2"


def test_the_hypervisor_answers(xen: Lab) -> None:
    said = dict(line.split(":", 1) for line in xen.run("xl info").stdout.splitlines() if ":" in line)
    facts = {key.strip(): value.strip() for key, value in said.items()}
    assert (facts["xen_major"], facts["xen_minor"]) == ("4", "17")
    assert int(facts["free_memory"]) > 256  # MiB, room for two guests


def test_libvirt_knows_the_host_as_domain_0(xen: Lab) -> None:
    assert xen.run(f"{VIRSH} list --name").stdout.split() == ["Domain-0"]


def test_our_python_reaches_libvirt(xen: Lab) -> None:
    ask = "import libvirt; dom0 = libvirt.open('xen:///system'); print(dom0.getType(), dom0.numOfDomains())"
    assert xen.run(f'/opt/fridu/.venv/bin/python -c "{ask}"').stdout.split() == ["Xen", "1"]


def test_the_real_worker_waits_at_the_real_queue(xen: Lab) -> None:
    """The units of deploy/ as docs/install.md puts them; SQLite instead of PostgreSQL."""
    xen.bring_tree()
    xen.run(f"set -e; {SITE}", timeout_s=300)
    xen.run("systemctl start redis-fridu fridu-worker@power")
    xen.until("redis-cli -s /run/fridu/redis/redis.sock client list", patience_s=600, said="cmd=brpop")
    assert xen.run("systemctl is-active fridu-worker@power").stdout == "active\n"


def test_a_volume_is_made_and_removed_under_xen_too(xen: Lab) -> None:
    xen.run("lvcreate -q -y -L 64M -n WEB-root --addtag fridu.machine=WEB vg0")
    assert xen.run("lvs --noheadings -o lv_tags vg0/WEB-root").stdout.strip() == "fridu.machine=WEB"
    xen.run("lvremove -q -y vg0/WEB-root")
    assert xen.run("lvs --noheadings vg0").stdout.strip() == ""


def test_a_pv_guest_on_a_volume_gets_its_address_and_answers_ssh(xen: Lab) -> None:
    began = time.monotonic()
    xen.run(f"set -e; {BRIDGE}")
    xen.run(f"set -e; {DISK}")
    xen.run(f"cat > /run/WEB.xml && {VIRSH} define /run/WEB.xml", stdin=GUEST.encode())
    made = time.monotonic()
    xen.run(f"{VIRSH} start WEB")
    started = time.monotonic()
    assert xen.until(f"{SSH} hostname", patience_s=180).stdout == "WEB\n"
    print(f"volume, filesystem, image {made - began:.1f} s; start {started - made:.1f} s; ", end="")
    print(f"SSH {time.monotonic() - started:.1f} s later")

    assert "10.10.1.2 web" in xen.run("cat /run/lab-leases").stdout
    assert xen.run("ls /sys/class/net/xen-br1/brif").stdout.split() == ["fr1"]
    xen.run(f"{VIRSH} shutdown WEB")
    xen.until(f'test -z "$({VIRSH} list --name | grep WEB)"', patience_s=120)
    xen.run(f"{VIRSH} undefine WEB && lvremove -q -y vg0/WEB-root")
