"""Which process of a run has died: each is connected with process 0, and the system
ends the connection with the process.

A collective may wait for a dead process without end, in code that Python cannot
interrupt. JAX's own heartbeats end such a process, but by an abort that leaves no
record; they stay behind this, for a machine that vanishes without a word.
"""

import os
import secrets
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module

import jax

from handgrad.scale.processes import JOINING, from_first, is_first

GRACE = 2.0
"""Seconds from the end of one process to that of the others: in which they may say
what else they know."""

_BYE, _TOKEN = b".", 16


class Watch:
    """Ends this process when another has ended without taking leave.

    Set `last_words` to what is to be done then, with the message, in a thread.
    """

    def __init__(self) -> None:
        self.last_words: Callable[[str], None] = lambda text: None
        self._known: dict[socket.socket, int] = {}  # and which process is there
        self._left: set[int] = set()
        self._leaving = False
        server = _server() if is_first() else None
        found = from_first(lambda: _address(server))
        host, port, token = found.rsplit(" ", 2)
        if server is not None:
            self._thread(self._accept, server, bytes.fromhex(token))
        else:
            self._connect(host, int(port), bytes.fromhex(token))

    def leave(self) -> None:
        """Take leave of the others: this process ends as it should."""
        self._leaving = True
        for each in self._known:
            try:
                each.sendall(_BYE)
            except OSError:
                continue  # it has left

    def _thread(self, work: Callable[..., None], *arguments: object) -> None:
        threading.Thread(target=work, args=arguments, daemon=True).start()

    def _connect(self, host: str, port: int, token: bytes) -> None:
        try:
            first = socket.create_connection((host, port), timeout=JOINING)
            first.sendall(token + jax.process_index().to_bytes(4))
        except OSError:
            return  # no way to process 0 but JAX's own, whose heartbeats remain
        first.settimeout(None)
        self._known[first] = 0
        self._thread(self._read)

    def _accept(self, server: socket.socket, token: bytes) -> None:
        """Wait for the others; whoever does not know the token is none of them."""
        server.settimeout(JOINING)
        with server:
            while len(self._known) < jax.process_count() - 1:
                try:
                    other, _ = server.accept()
                    other.settimeout(JOINING)
                    said = other.recv(_TOKEN + 4, socket.MSG_WAITALL)
                except OSError:
                    break
                if secrets.compare_digest(said[:_TOKEN], token):
                    other.settimeout(None)
                    self._known[other] = int.from_bytes(said[_TOKEN:])
                else:
                    other.close()
        self._read()

    def _read(self) -> None:
        """Until a connection ends whose process has not taken leave."""
        with selectors.DefaultSelector() as selector:
            for each in self._known:
                selector.register(each, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select():
                    other: socket.socket = key.fileobj  # pyright: ignore[reportAssignmentType]
                    if _said(other) == _BYE:
                        self._left.add(self._known[other])
                        continue
                    selector.unregister(other)
                    if self._known[other] not in self._left:
                        self._lost(self._known[other])

    def _lost(self, index: int) -> None:
        time.sleep(GRACE if index else 0)  # without process 0 JAX aborts at once
        if self._leaving:
            return
        text = (
            f"`processes` must all live, but process {index} has ended: its output may "
            "say why. The same command goes on from the newest checkpoint."
        )
        try:
            self.last_words(text)
            print(f"error: {text}", file=sys.stderr, flush=True)
        finally:
            os._exit(1)


def _said(other: socket.socket) -> bytes:
    try:
        return other.recv(1)
    except OSError:
        return b""


def _server() -> socket.socket:
    if socket.has_dualstack_ipv6():
        return socket.create_server(
            ("", 0), family=socket.AF_INET6, dualstack_ipv6=True
        )
    return socket.create_server(("", 0))


def _address(server: socket.socket | None) -> str:
    """Where the others find process 0, and a token that shows that they are those."""
    assert server is not None
    state = import_module("jax._src.distributed").global_state  # not public
    coordinator = getattr(state, "coordinator_address", None) or ""
    host = coordinator.rpartition(":")[0].strip("[]") or socket.gethostname()
    return f"{host} {server.getsockname()[1]} {secrets.token_hex(_TOKEN)}"
