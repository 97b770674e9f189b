"""A webhook and a mail server, to which Grafana sends its notifications."""

import email
import email.policy
import http.server
import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Notification:
    """One alert in one message: `status` is firing or resolved."""

    way: str  # webhook | email
    status: str
    about: str  # the whole text about the alert


@dataclass
class Post:
    """The notifications that have arrived by webhook and by e-mail."""

    received: list[Notification] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)
    hook_port: int = 0
    mail_port: int = 0

    def of(self, *words: str) -> list[Notification]:
        """The notifications in which all these words appear."""
        return [each for each in self.received if all(word in each.about for word in words)]

    def env(self) -> dict[str, str]:
        """The variables of .env that direct notifications to these servers."""
        return {
            "ALERT_WEBHOOK_URL": f"http://127.0.0.1:{self.hook_port}/alerts",
            "ALERT_WEBHOOK_TOKEN": "secret-hook",
            "SMTP_HOST": f"127.0.0.1:{self.mail_port}",
            "ALERT_EMAIL_TO": "desk@example.org",
        }


@contextmanager
def post_office() -> Iterator[Post]:
    """A webhook and a mail server on loopback.

    Like a relay inside a network, the mail server knows neither TLS nor passwords.
    """
    post = Post()

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            post.received += [
                Notification("webhook", each["status"], json.dumps(each, ensure_ascii=False))
                for each in message["alerts"]
            ]
            post.tokens.add(self.headers.get("Authorization"))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Mail(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say("220 ready")
            for line in self.rfile:
                verb = line.split()[0].upper() if line.split() else b""
                if verb == b"DATA":
                    self.say("354 go on")
                    text = b"".join(line.removeprefix(b".") for line in iter(self.rfile.readline, b".\r\n"))
                    post.received.append(opened(text))
                self.say("221 bye" if verb == b"QUIT" else "250 ok")

        def say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    with ExitStack() as stack:
        for kind in (Hook, Mail):
            server = stack.enter_context(socketserver.ThreadingTCPServer(("127.0.0.1", 0), kind))
            server.daemon_threads = True
            thread = threading.Thread(target=server.serve_forever, args=(0.1,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            port = server.server_address[1]
            post.hook_port, post.mail_port = (
                (port, post.mail_port) if kind is Hook else (post.hook_port, port)
            )
        yield post


def opened(message: bytes) -> Notification:
    """The notification that an e-mail contains."""
    letter = email.message_from_bytes(message, policy=email.policy.default)
    body = letter.get_body(("plain", "html"))
    assert body is not None
    subject = str(letter["Subject"])
    return Notification(
        "email",
        "resolved" if subject.startswith("Over: ") else "firing",
        f"{letter['From']} {letter['To']} {subject}\n{body.get_content()}",
    )
