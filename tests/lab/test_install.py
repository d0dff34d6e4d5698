"""A host from nothing by docs/install.md: each of its commands run as it stands there, in its order."""

from __future__ import annotations

import pytest

from tests.lab.conftest import Lab
from tests.lab.manual import commands

pytestmark = pytest.mark.lab

PASSWORD = "chosen-for-this-test"
#: What the text leaves to the person: names in capitals, and what is typed when asked.
NAMES = {"REPOSITORY": "/srv/fridu.git", "PASSWORD": PASSWORD, "YOU": "brendan"}
ANSWERS = {"--pwprompt": f"{PASSWORD}\n{PASSWORD}\n"}
#: “Put this host's facts in”, and the admin VPN, which the host has before.
FACTS = f"""
sed -i '0,/^name = .*/s||name = "dom0"|; s|^libvirt = .*|libvirt = "xen:///system"|' /etc/fridu/host.toml
sed -i 's|^panel_port = .*|panel_port = 443|; s|^# volume_groups|volume_groups|' /etc/fridu/host.toml
sed -i 's|PASSWORD|{PASSWORD}|' /etc/fridu/panel.env
"""
VPN = "ip tuntap add dev tun0 mode tun && ip addr add 10.10.95.38/24 dev tun0 && ip link set tun0 up"
#: Debian's packages start these when they are installed; the lab's image has them off.
STARTED = "systemctl enable --now postgresql redis-server"
#: The code of this tree as a repository to clone; the libraries lie where the text will put them: nothing is fetched.
CLONED = """
mv /opt/fridu /srv/tree && cd /srv/tree && git init -q && git add -A
git -c user.name=lab -c user.email=lab@localhost commit -q -m tree && git clone -q --bare . /srv/fridu.git
"""


def test_every_command_of_the_installation_works_as_written(xen: Lab) -> None:
    xen.bring_tree()
    xen.run(f"set -e; {VPN}; {STARTED}; {CLONED}", timeout_s=300)
    for section in (1, 2, 3, 4, 5):
        for line in commands(section):
            _typed(xen, line)
        if section == 3:
            xen.run(f"set -e; {FACTS}")
    _serves(xen)


def _typed(lab: Lab, line: str) -> None:
    for name, value in NAMES.items():
        line = line.replace(name, value)
    answer = next((text for option, text in ANSWERS.items() if option in line), "")
    print(f"# {line}", flush=True)
    lab.run(f"cd /opt/fridu 2>/dev/null || cd /root; {line}", timeout_s=900, stdin=answer.encode())
    if "git clone" in line:  # what pip would fetch
        lab.run("mv /srv/tree/.venv /opt/fridu/.venv")


def _serves(lab: Lab) -> None:
    """The panel behind TLS, and the worker, which reports its host."""
    at = "--resolve panel.example.org:443:10.10.95.38 https://panel.example.org/"
    ask = f"curl -skL {at} -o /dev/null -w '%{{http_code}}'"
    lab.until(ask, patience_s=300, said="200")
    lab.until("/opt/fridu/bin/fridu --as brendan zones", patience_s=300)
    lab.until("/opt/fridu/bin/fridu --as brendan image", patience_s=300)
    failed = lab.run("systemctl --failed --no-legend --plain").stdout
    assert failed == ""
