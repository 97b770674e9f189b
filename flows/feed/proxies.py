"""Which proxy the environment asks for: one rule for the websocket and for REST.

| address | variable, the first that is set |
|---|---|
| `wss://` | WSS_PROXY, SOCKS_PROXY, HTTPS_PROXY, ALL_PROXY |
| `https://` | SOCKS_PROXY, HTTPS_PROXY, ALL_PROXY |
| `ws://` | WS_PROXY, SOCKS_PROXY, HTTP_PROXY, HTTPS_PROXY, ALL_PROXY |
| `http://` | SOCKS_PROXY, HTTP_PROXY, HTTPS_PROXY, ALL_PROXY |

In lower case they go before those in upper case. This machine itself is never reached through a proxy, nor is
what NO_PROXY names: hosts, domains with all below them (`binance.com`, `.binance.com`), either with a port,
addresses, networks (`10.0.0.0/8`), or `*` for everything.
"""

import ipaddress
import re
import urllib.request
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from flows.errors import UserError

SOCKS: Final = ("socks5h", "socks5", "socks4a", "socks4")
SCHEMES: Final = ("http", "https", *SOCKS)
PORTS: Final = {"http": 80, "https": 443} | dict.fromkeys(SOCKS, 1080)  # where the variable gives none
# by: is the connection to be TLS
SHARED: Final = {True: ("socks", "https", "all"), False: ("socks", "http", "https", "all")}
OWN: Final = {"wss": ("wss",), "ws": ("ws",)}
TLS: Final = {"wss": 443, "https": 443}
LOGIN_WANTED: Final = "407"  # HTTP status of a proxy
EXPECTED: Final = "expected http://HOST:PORT, https://HOST:PORT or socks5h://HOST:PORT, with USER:PASSWORD@ before HOST where it asks for them"


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy of the environment. As text it shows neither user nor password."""

    variable: str  # the environment variable that names it
    scheme: str
    host: str  # an IPv6 address without brackets
    port: int
    user: str = ""
    password: str = ""

    def __str__(self) -> str:
        return f"{self.scheme}://{bracketed(self.host)}:{self.port} ({self.variable})"

    @property
    def socks(self) -> bool:
        return self.scheme in SOCKS

    @property
    def url(self) -> str:
        """With user and password: for libraries, never for a message."""
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@" if self.user else ""
        return f"{self.scheme}://{login}{bracketed(self.host)}:{self.port}"


def proxy_for(url: str) -> Proxy | None:
    """The proxy for connections to an address; None where it is reached directly.

    Raises UserError when the variable holds something else than the address of a proxy.
    """
    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme in TLS
    if is_loopback(host):
        return None
    named = urllib.request.getproxies()
    if _exempt(host, parts.port or (443 if secure else 80), named.get("no", "")):
        return None
    for name in (*OWN.get(parts.scheme, ()), *SHARED[secure]):
        if written := named.get(name, "").strip():
            return parsed(f"{name.upper()}_PROXY", written)
    return None


def through(proxy: Proxy | None, why: str = "") -> str:
    """A message about a connection, with the proxy that it goes through."""
    if proxy is None:
        return why
    login = ", which asks for USER:PASSWORD@ before its host" if LOGIN_WANTED in why else ""
    return f"{why} through the proxy {proxy}{login}".lstrip()


def is_loopback(host: str) -> bool:
    """Whether the host is this machine."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def parsed(variable: str, written: str) -> Proxy:
    """What the variable says. `host:port` without a scheme is an HTTP proxy, as curl reads it."""
    if "://" not in written and re.fullmatch(r"(.+@)?(\[[0-9a-fA-F:.]+\]|[^:/@\[\]]+):[0-9]+/?", written):
        written = f"http://{written}"
    try:
        parts = urlsplit(written)
        scheme, host, port = parts.scheme, parts.hostname or "", parts.port
        user, password = (unquote(word or "", errors="strict") for word in (parts.username, parts.password))
        ascii_host = host if host.isascii() else host.encode("idna").decode()
    except (
        ValueError
    ):  # a bad port, a bracket that is not closed, escapes that are no text, a host that cannot be encoded
        raise _wrong(variable, written) from None
    scheme = {"socks": "socks5h"}.get(scheme, scheme)
    if scheme == "http" and variable == "SOCKS_PROXY":
        scheme = "socks5h"
    sound_host = re.fullmatch(r"[0-9a-fA-F:.]+(%\w+)?" if ":" in host else r"[^\s/\\?#@%]{1,253}", host)
    sound = sound_host and port != 0 and parts.path in ("", "/") and not parts.query and not parts.fragment
    if scheme not in SCHEMES or not sound or any(not word.isprintable() for word in (user, password)):
        raise _wrong(variable, written)
    if scheme in SOCKS and not (user + password).isascii():
        raise UserError(
            f"environment: {variable}: user and password of a SOCKS proxy must be ASCII here: give it others, or an HTTP proxy"
        )
    return Proxy(variable, scheme, ascii_host, port or PORTS[scheme], user, password)


def _wrong(variable: str, written: str) -> UserError:
    # anything else may hold a password
    plain = re.fullmatch(r"(\w{1,10}://)?[\w.-]{0,60}(:\d{0,9})?/?", written)
    return UserError(
        f"environment: {variable}: {EXPECTED}; got {repr(written) if plain else 'something else (not shown)'}"
    )


def _exempt(host: str, port: int, no_proxy: str) -> bool:
    # on some systems settings of the system count, too
    if urllib.request.proxy_bypass(f"{bracketed(host)}:{port}"):
        return True
    return any(
        _names(entry.strip().lower(), host.lower().rstrip("."), port)
        for entry in re.split(r"[,\s]+", no_proxy)
        if entry.strip()
    )


def _names(entry: str, host: str, port: int) -> bool:
    """Whether an entry of NO_PROXY names the host."""
    if entry == "*":
        return True
    with_port = re.fullmatch(r"(\[.+\]|[^:]+):([0-9]+)", entry)
    if with_port:
        if int(with_port[2]) != port:
            return False
        entry = with_port[1]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        domain = entry.removeprefix("*").lstrip(".").rstrip(".")
        return bool(domain) and (host == domain or host.endswith(f".{domain}"))
    try:
        return address in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return False


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
