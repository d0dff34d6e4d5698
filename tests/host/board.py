"""One thread that answers on many ports of many namespaces."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterable

from tests.host.wire import inside


class Board:
    """Answers "ADDRESS:PORT PEER" on many ports of many namespaces, TCP (echoed then) and UDP; one thread."""

    def __init__(self) -> None:
        self._selector = selectors.EpollSelector()
        self._lock = threading.Lock()
        self._open = True
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def add(self, ns: str, address: str, ports: Iterable[int]) -> None:
        """Listen there on each port, TCP and UDP."""

        def opened() -> list[tuple[socket.socket, int]]:
            out = []
            for port in ports:
                tcp = socket.create_server((address, port), backlog=500)
                udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                udp.bind((address, port))
                out += [(tcp, port), (udp, port)]
            return out

        for sock, port in inside(ns, opened):
            sock.setblocking(False)
            self._watch(sock, f"{address}:{port}")

    def close(self) -> None:
        self._open = False
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()

    def _watch(self, sock: socket.socket, name: str) -> None:
        with self._lock:
            self._selector.register(sock, selectors.EVENT_READ, name)

    def _serve(self) -> None:
        while self._open:
            ready = self._selector.select(0.1)
            for key, _ in ready:
                assert isinstance(key.fileobj, socket.socket)
                with contextlib.suppress(OSError):
                    self._answer(key.fileobj, key.data)

    def _answer(self, sock: socket.socket, name: str) -> None:
        if sock.type == socket.SOCK_DGRAM:
            _, peer = sock.recvfrom(2000)
            sock.sendto(f"{name} {peer[0]}\n".encode(), peer)
        elif name:
            connection, peer = sock.accept()
            connection.setblocking(False)
            connection.sendall(f"{name} {peer[0]}\n".encode())
            self._watch(connection, "")
        else:
            self._echo(sock)

    def _echo(self, sock: socket.socket) -> None:
        data = b""
        with contextlib.suppress(OSError):
            data = sock.recv(2000)
            sock.sendall(data)
        if not data:
            with self._lock:
                self._selector.unregister(sock)
            sock.close()
