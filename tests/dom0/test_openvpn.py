"""OpenVPN's management socket and client list, against a stand-in that says what the real one was seen to say."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from dom0 import openvpn, runner
from dom0.errors import Refused
from dom0.host import HostConfig
from dom0.runner import Result

GREETING = ">INFO:OpenVPN Management Interface Version 5 -- type 'help' for more info\r\n"
STATUS = (
    "TITLE,OpenVPN 2.6.14 x86_64-pc-linux-gnu\r\n"
    "HEADER,CLIENT_LIST,Common Name,Real Address,Virtual Address,Virtual IPv6 Address,Bytes Received,Bytes Sent,"
    "Connected Since,Connected Since (time_t),Username,Client ID,Peer ID,Data Channel Cipher\r\n"
    "CLIENT_LIST,fulup-laptop,203.0.113.7:51135,10.10.95.2,,3103,5305,2026-11-22 18:40:25,1795372825,UNDEF,6,0,AES\r\n"
    "CLIENT_LIST,refused,203.0.113.7:51136,,,3103,5305,2026-11-22 18:40:25,1795372825,UNDEF,7,1,AES\r\n"
    ">CLIENT:somebody knocks\r\n"
    "GLOBAL_STATS,dco_enabled,0\r\nEND\r\n"
)


def config(tmp_path: Path, **more: str) -> HostConfig:
    return HostConfig(
        name="h", libvirt="lxc:///system", volumes="/v", **{"vpn_management": str(tmp_path / "management"), **more}
    )


@pytest.fixture
def answers(tmp_path):
    """`answers(text)`: a management socket that says `text` to whoever asks; returns what it was asked."""
    servers = []

    def serve(text: str) -> list[str]:
        asked: list[str] = []
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(tmp_path / "management"))
        server.listen(1)
        servers.append(server)

        def speak() -> None:
            while True:
                try:
                    link, _ = server.accept()
                except OSError:
                    return
                with link:
                    link.sendall(GREETING.encode())
                    asked.append(link.recv(100).decode().strip())
                    link.sendall(text.encode())

        threading.Thread(target=speak, daemon=True).start()
        return asked

    yield serve
    for server in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


@pytest.fixture
def ran(monkeypatch):
    """Processes that were to be started; `ip route show` finds 10.10.95.9 shut."""
    argvs = []

    def run(argv, **_):
        argvs.append(argv)
        return Result(argv=argv, code=0, stdout='[{"dst":"10.10.95.9"}]' if "show" in argv else "", stderr="")

    monkeypatch.setattr(runner, "run", run)
    return argvs


def test_it_says_who_is_in_from_where_since_when(tmp_path, answers):
    answers(STATUS)
    found = openvpn.sessions(config(tmp_path))
    assert found == {
        "fulup-laptop": openvpn.Session(origin="203.0.113.7:51135", address="10.10.95.2", since=1795372825)
    }


@pytest.mark.parametrize("socket_there", [True, False])
def test_a_server_that_does_not_answer_is_known_by_that(tmp_path, answers, socket_there):
    if socket_there:
        answers("")
    assert openvpn.sessions(config(tmp_path)) is None


def test_a_client_is_killed_by_its_name_and_its_flows_forgotten(tmp_path, answers, ran):
    asked = answers("SUCCESS: common name 'fulup-laptop' found, 1 client(s) killed\r\n")
    said = openvpn.put_out(config(tmp_path), {"name": "fulup-laptop", "address": "10.10.95.2"}, "")
    assert asked == ["kill fulup-laptop"]
    assert "1 client(s) killed" in said
    assert [argv[:2] for argv in ran] == [("conntrack", "-D")] * 2


def test_a_client_that_was_not_in_is_fine(tmp_path, answers, ran):
    answers("ERROR: common name 'fulup-laptop' not found\r\n")
    assert "not found" in openvpn.put_out(config(tmp_path), {"name": "fulup-laptop", "address": "10.10.95.2"}, "")


def test_where_openvpn_cannot_be_told_the_address_is_shut(tmp_path, ran):
    said = openvpn.put_out(config(tmp_path, vpn_management=""), {"name": "a", "address": "10.10.95.2"}, "")
    assert ran[0] == ("ip", "route", "replace", "blackhole", "10.10.95.2/32")
    assert "nothing from or to 10.10.95.2 passes" in said


def test_without_an_address_of_its_own_it_cannot_be_shut(tmp_path, ran):
    with pytest.raises(Refused, match="can't be told"):
        openvpn.put_out(config(tmp_path), {"name": "a", "address": "-"}, "")
    assert not ran


@pytest.mark.parametrize("wrong", [{"name": "a\nsignal SIGTERM"}, {"name": "A"}, {"address": "10.0.0.0/8"}])
def test_only_names_and_addresses_reach_openvpn_and_ip(tmp_path, ran, wrong):
    with pytest.raises(Refused):
        openvpn.put_out(config(tmp_path), {"name": "a", "address": "10.10.95.2", **wrong}, "")
    assert not ran


def test_peers_are_open_shut_or_out(tmp_path, answers, ran):
    answers(STATUS)
    keys = ("fulup-laptop 10.10.95.2", "other 10.10.95.3", "gone 10.10.95.9", "fulup-laptop -", "other -")
    assert openvpn.speaking(config(tmp_path), keys) == {
        "fulup-laptop 10.10.95.2": "open",
        "gone 10.10.95.9": "shut",
        "fulup-laptop -": "open",
    }


def test_while_nobody_says_who_is_in_anybody_may_be(tmp_path, ran):
    keys = ("a 10.10.95.2", "b 10.10.95.9", "c -")
    found = openvpn.speaking(config(tmp_path), keys)
    assert found == {"a 10.10.95.2": "open", "b 10.10.95.9": "shut", "c -": "unknown"}


def test_the_report_reads_the_list_as_openvpn_does(tmp_path):
    folder = tmp_path / "clients"
    folder.mkdir()
    (folder / "in").write_text("# Fridu writes this file\nifconfig-push 10.10.95.2 255.255.255.0\n")
    (folder / "out").write_text("disable\n")
    (folder / "odd").write_bytes(b"\xff\xfe")
    (folder / ".in.1234").write_text("half written")
    (folder / "folder").mkdir()
    found = openvpn.report(config(tmp_path, vpn_clients=str(folder)))
    assert found == {"listed": {"in": "10.10.95.2", "out": "disabled", "odd": "", "folder": ""}, "clients": None}


def test_without_an_openvpn_there_is_nothing_to_report(tmp_path):
    assert openvpn.report(config(tmp_path, vpn_management="")) == {}
