"""The admin VPN: Debian's OpenVPN, as server on dom0 and as a client in the vpn namespace, across its Internet.

What it needs that Fridu doesn't make: a certificate authority, the server's settings, a client's file. Everything is
kept in the state folder, readable by root alone; dom0 sees it as /etc/openvpn.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from demo import processes, service
from demo.layout import DOM0_ADDRESS, VPN_ADDRESS, VPN_CLIENT, Layout, Problem
from demo.service import Service

PORT = 44096  # the sample's
CLIENTS = "/etc/openvpn/fridu-clients"
MANAGEMENT = "/run/fridu/openvpn.sock"
PATIENCE_S = 15.0

SERVER = """\
# Written by bin/demo at every start. tun0 and its address are dom0's own, so they stay while this restarts.
mode server
tls-server
proto udp4
local {dom0}
port {port}
dev tun0
dev-type tun
disable-dco
topology subnet
ifconfig {address} 255.255.255.0
ifconfig-noexec
push "topology subnet"
push "route-gateway {address}"
push "route 10.10.0.0 255.255.0.0"
keepalive 1 4
persist-tun
persist-key
ca /etc/openvpn/ca.crt
cert /etc/openvpn/server.crt
key /etc/openvpn/server.key
dh none
remote-cert-tls client
client-config-dir {clients}
ccd-exclusive
management {management} unix
management-client-user root
user nobody
group nogroup
"""
CLIENT = """\
client
proto udp4
remote {dom0} {port}
nobind
dev tun0
dev-type tun
disable-dco
tls-timeout 1
hand-window 5
connect-retry 1 1
remote-cert-tls server
verify-x509-name server name
<ca>
{ca}</ca>
<cert>
{cert}</cert>
<key>
{key}</key>
"""
OPENSSL = """\
[req]
distinguished_name = dn
prompt = no
[dn]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = keyCertSign, cRLSign
[server]
basicConstraints = critical, CA:FALSE
keyUsage = digitalSignature
extendedKeyUsage = serverAuth
[client]
basicConstraints = critical, CA:FALSE
keyUsage = digitalSignature
extendedKeyUsage = clientAuth
"""


def configure(layout: Layout) -> None:
    """The authority, made once, the server's settings and the demo's own client. Raises Problem."""
    folder = _folder(layout)
    folder.chmod(0o711)  # the server, once it is nobody, reads the clients' settings below
    for part in (folder / Path(CLIENTS).name, folder / "clients"):
        part.mkdir(exist_ok=True)
    (folder / "clients").chmod(0o700)
    if not (folder / "ca.crt").exists():
        _certificate(folder / "ca", "Fridu demo", "authority")
    if not (folder / "server.crt").exists():
        _certificate(folder / "server", "server", "server", issuer=folder / "ca")
    settings = {"dom0": DOM0_ADDRESS, "port": PORT, "address": VPN_ADDRESS}
    (folder / "server.conf").write_text(SERVER.format(clients=CLIENTS, management=MANAGEMENT, **settings))
    client(layout, VPN_CLIENT)


def client(layout: Layout, name: str) -> str:
    """A client's one file, made where it is missing, as dom0 names it; `name` is what the panel knows it by."""
    folder = _folder(layout) / "clients"
    path = folder / f"{name}.ovpn"
    if not path.exists():
        _certificate(folder / name, name, "client", issuer=_folder(layout) / "ca")
        parts = {
            "ca": (_folder(layout) / "ca.crt").read_text(),
            "cert": (folder / f"{name}.crt").read_text(),
            "key": (folder / f"{name}.key").read_text(),
        }
        path.touch(mode=0o600)
        path.write_text(CLIENT.format(dom0=DOM0_ADDRESS, port=PORT, **parts))
    return f"/etc/openvpn/clients/{name}.ovpn"


def start_server(layout: Layout) -> None:
    """OpenVPN on dom0. Raises Problem."""
    argv = ("/usr/sbin/openvpn", "--config", "/etc/openvpn/server.conf")
    service.start(layout, Service(name="openvpn", argv=argv))


def start_client(layout: Layout, name: str = VPN_CLIENT) -> None:
    """Have the vpn namespace be that client, instead of whom it was. Raises Problem."""
    config = client(layout, name)
    # By way of a descriptor: dom0 does not see the box's /run/netns.
    space = os.open(f"/run/netns/{layout.vpn}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        argv = ("nsenter", "--net=/proc/self/fd/{passed}", "--", "/usr/sbin/openvpn", "--config", config)
        service.start(layout, Service(name="openvpn-client", argv=argv), pass_fd=space)
    finally:
        os.close(space)


def joined(layout: Layout) -> bool:
    """Wait until the client is in; False where it is not after 15 s, or dom0's list doesn't let it in."""
    theirs = _folder(layout) / Path(CLIENTS).name / VPN_CLIENT
    if not theirs.exists() or "ifconfig-push" not in theirs.read_text():
        return False
    deadline = time.monotonic() + PATIENCE_S
    while not _has_address(layout):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _has_address(layout: Layout) -> bool:
    argv = ("ip", "-n", layout.vpn, "-4", "-oneline", "address", "show", "up", "dev", "tun0")
    return "inet" in subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False).stdout


def _folder(layout: Layout) -> Path:
    return layout.var / "openvpn"


def _certificate(path: Path, name: str, kind: str, *, issuer: Path | None = None) -> None:
    """A key and a certificate beside it; the certificate last, under its name only when it is whole."""
    signed = ("-CA", f"{issuer}.crt", "-CAkey", f"{issuer}.key") if issuer else ()
    done = subprocess.run(
        (
            *("openssl", "req", "-x509", *signed, "-config", "/dev/stdin", "-extensions", kind),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "3650"),
            *("-subj", f"/CN={name}", "-keyout", f"{path}.key", "-out", f"{path}.new"),
        ),
        input=OPENSSL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode != 0:
        raise Problem(f"openssl can't make the certificate of {name}: {done.stderr.strip()[-300:]}")
    Path(f"{path}.key").chmod(0o600)
    Path(f"{path}.new").rename(f"{path}.crt")


def main(arguments: list[str]) -> None:
    """`python3 -m demo.vpn [--name NAME] CLIENT`: have the vpn namespace be that client of the running demo."""
    name = "demo"
    if arguments[:1] == ["--name"]:
        name, arguments = arguments[1], arguments[2:]
    layout = Layout(name=name)
    if len(arguments) != 1 or not arguments[0].replace("-", "").isalnum():
        raise Problem("Say which client: the name of a peer on the panel's page Admin VPN.")
    if "keeper" not in processes.recorded(layout):
        raise Problem(f"The demo “{name}” is not running; bin/demo starts it.")
    start_client(layout, arguments[0])


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Problem as problem:
        sys.exit(str(problem))
