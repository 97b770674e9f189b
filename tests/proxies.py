"""A local proxy that speaks the usual protocols: CONNECT, HTTP requests with a full address, SOCKS5.

Whatever host is requested, it connects to the local exchange.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

HOST = "exchange.test"  # a name that only the proxy can look up


@dataclass
class Proxy:
    """A running proxy, and the requests that it has got."""

    port: int
    # Such as `CONNECT exchange.test:80`, `GET http://…`, `SOCKS5 exchange.test:80`.
    asked: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)


@contextlib.contextmanager
def proxying(upstream: int, refusal: bytes = b"") -> Iterator[Proxy]:
    """A proxy to a port. With a `refusal` it answers that, and forwards nothing."""
    listener = socket.create_server(("127.0.0.1", 0))
    proxy = Proxy(listener.getsockname()[1])
    sockets = [listener]
    threads: list[threading.Thread] = []

    def run(function: object, *arguments: object) -> None:
        threads.append(threading.Thread(target=function, args=arguments))  # type: ignore[arg-type]
        threads[-1].start()

    def pass_on(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(65_536):
                target.sendall(chunk)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def serve(client: socket.socket) -> None:
        with contextlib.suppress(OSError, IndexError):
            first = client.recv(1, socket.MSG_PEEK)
            head = b"" if first == b"\5" else _head(client)
            if head:
                proxy.asked.append(b" ".join(head.split(b"\r\n")[0].split()[:2]).decode())
                proxy.logins += [
                    line.split(b" ", 1)[1].decode()
                    for line in head.split(b"\r\n")
                    if line.startswith(b"Proxy-Authorization")
                ]
            else:
                proxy.asked.append(_greet(client, proxy.logins))
            if refusal:
                client.sendall(refusal)
                client.shutdown(socket.SHUT_RDWR)
                return
            server = socket.create_connection(("127.0.0.1", upstream))
            sockets.append(server)
            if head.startswith(b"CONNECT"):
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            elif head:
                method, url, rest = head.split(b" ", 2)
                server.sendall(b" ".join((method, b"/" + url.split(b"/", 3)[3], rest)))
            else:
                client.sendall(b"\5\0\0\1\0\0\0\0\0\0")
            run(pass_on, server, client)
            pass_on(client, server)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                sockets.append(client)
                run(serve, client)

    run(accept)
    try:
        yield proxy
    finally:
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in threads:
            thread.join()


def _head(client: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1) or b"\r\n\r\n"
    return head


def _greet(client: socket.socket, logins: list[str]) -> str:
    """The greeting of SOCKS5, with a login if the client offers one. Returns what the client requests."""
    offered = client.recv(2)
    methods = client.recv(offered[1])
    if 2 in methods:
        client.sendall(b"\5\2")
        user = client.recv(client.recv(2)[1])
        logins.append(f"{user.decode()}:{client.recv(client.recv(1)[0]).decode()}")
        client.sendall(b"\1\0")
    else:
        client.sendall(b"\5\0")
    kind = client.recv(4)[3]
    host = client.recv(client.recv(1)[0]).decode() if kind == 3 else socket.inet_ntoa(client.recv(4))
    return f"SOCKS5 {host}:{int.from_bytes(client.recv(2))}"
