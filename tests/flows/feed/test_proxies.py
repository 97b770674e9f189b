"""Which proxy the environment asks for; no sockets."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.errors import UserError
from flows.feed.proxies import Proxy, parsed, proxy_for, through

WS, REST = "wss://data-stream.binance.vision", "https://api.binance.com"
PLAIN = "http://market.example:9443"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WS", "WSS", "SOCKS", "HTTP", "HTTPS", "ALL", "NO"):
        for spelling in (f"{name}_PROXY", f"{name}_PROXY".lower()):
            monkeypatch.delenv(spelling, raising=False)


def setting(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, written in variables.items():
        monkeypatch.setenv(name, written)


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "SOCKS_PROXY"])
def test_both_clients_go_by_the_same_variables(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert proxy_for(WS) is proxy_for(REST) is None
    setting(monkeypatch, **{name: "http://10.0.0.1:3128"})
    assert proxy_for(WS) == proxy_for(REST) is not None
    assert str(proxy_for(REST)).startswith(
        "socks5h://" if name == "SOCKS_PROXY" else "http://10.0.0.1:3128 ("
    )


def test_what_is_not_encrypted_goes_by_http_proxy_first(monkeypatch: pytest.MonkeyPatch) -> None:
    setting(monkeypatch, HTTP_PROXY="http://a:1", HTTPS_PROXY="http://b:2", ALL_PROXY="http://c:3")
    hosts = [
        proxy.host if (proxy := proxy_for(url)) else None
        for url in (PLAIN, PLAIN.replace("http", "ws"), REST, WS)
    ]
    assert hosts == ["a", "a", "b", "b"]
    monkeypatch.delenv("HTTP_PROXY")
    assert str(proxy_for(PLAIN)) == "http://b:2 (HTTPS_PROXY)"


def test_a_variable_of_the_websocket_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    setting(monkeypatch, WSS_PROXY="http://a:1", HTTPS_PROXY="http://b:2")
    assert (
        str(proxy_for(WS)) == "http://a:1 (WSS_PROXY)" and str(proxy_for(REST)) == "http://b:2 (HTTPS_PROXY)"
    )


def test_an_empty_variable_is_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    setting(monkeypatch, HTTPS_PROXY="", ALL_PROXY=" ")
    assert proxy_for(REST) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "[::1]", "0.0.0.0", "x.localhost"])
def test_this_machine_is_never_reached_through_a_proxy(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    setting(monkeypatch, ALL_PROXY="http://10.0.0.1:3128")
    assert all(proxy_for(f"{scheme}://{host}:9443") is None for scheme in ("ws", "wss", "http", "https"))


@pytest.mark.parametrize(
    ("no_proxy", "url", "exempt"),
    [
        ("*", REST, True),
        ("api.binance.com", REST, True),
        ("binance.com", REST, True),
        (".binance.com", REST, True),
        ("*.binance.com", REST, True),
        ("BINANCE.com", REST, True),
        ("nance.com", REST, False),
        ("api.binance.com.example", REST, False),
        ("a.example, ,binance.com", REST, True),
        ("a.example binance.com", REST, True),
        ("binance.com:443", REST, True),
        ("binance.com:444", REST, False),
        ("market.example:9443", PLAIN, True),
        ("market.example:80", PLAIN, False),
        ("10.1.2.3", "https://10.1.2.3", True),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.0.0.1/8", "https://10.1.2.3", True),
        ("10.2.0.0/16", "https://10.1.2.3", False),
        ("10.1.2.3:443", "wss://10.1.2.3", True),
        ("10.0.0.0/8", REST, False),
        ("fd00::/8", "https://[fd00::1]:9443", True),
        ("fd00::1", "https://[fd00::1]", True),
        ("[fd00::1]:9443", "https://[fd00::1]:9443", True),
        ("[fd00::1]:9444", "https://[fd00::1]:9443", False),
        ("/,//,10.0.0.0/99,:,::/x", "https://10.1.2.3", False),
    ],
)
def test_what_no_proxy_names_is_reached_directly(
    monkeypatch: pytest.MonkeyPatch, no_proxy: str, url: str, exempt: bool
) -> None:
    setting(monkeypatch, ALL_PROXY="http://10.9.9.9:3128", NO_PROXY=no_proxy)
    assert (proxy_for(url) is None) == exempt


@pytest.mark.parametrize(
    ("written", "proxy"),
    [
        ("http://proxy:3128", Proxy("X", "http", "proxy", 3128)),
        ("http://proxy:3128/", Proxy("X", "http", "proxy", 3128)),
        ("HTTP://Proxy", Proxy("X", "http", "proxy", 80)),
        ("https://proxy", Proxy("X", "https", "proxy", 443)),
        ("proxy:3128", Proxy("X", "http", "proxy", 3128)),
        ("u:p@proxy:3128", Proxy("X", "http", "proxy", 3128, "u", "p")),
        ("127.0.0.1:3128", Proxy("X", "http", "127.0.0.1", 3128)),
        ("http://[::1]:3128", Proxy("X", "http", "::1", 3128)),
        ("socks5://proxy", Proxy("X", "socks5", "proxy", 1080)),
        ("socks://proxy", Proxy("X", "socks5h", "proxy", 1080)),
        ("socks4a://u@proxy:9", Proxy("X", "socks4a", "proxy", 9, "u")),
        ("http://us%40er:p%3Aw%2F@proxy:1", Proxy("X", "http", "proxy", 1, "us@er", "p:w/")),
        ("http://bücher.example:1", Proxy("X", "http", "xn--bcher-kva.example", 1)),
    ],
)
def test_a_proxy_is_read_as_it_is_written_everywhere(written: str, proxy: Proxy) -> None:
    assert parsed("X", written) == proxy
    assert parsed("X", proxy.url) == proxy, "what libraries get"


NO_PROXIES = [
    "foo",
    "http://",
    "http://:3128",
    "http://proxy:port",
    "http://proxy:99999",
    "http://proxy:-1",
    "http://proxy:0",
    "ftp://proxy:21",
    "socks6://proxy",
    "http:proxy:1",
    "//proxy:1",
    "http://[::1",
    "http://[x]:1",
    "http://proxy/path",
    "http://proxy?q",
    "http://proxy#f",
    "http://a\\b:1",
    "http://..:1é",
    "\x00",
    "http://u:p%ff@proxy:1",
    "http://u%0a:p@proxy:1",
]


@pytest.mark.parametrize("written", [*NO_PROXIES, "http://pro xy:1", f"http://{'a' * 300}:1"])
def test_what_names_no_proxy_is_refused_in_a_line(written: str) -> None:
    with pytest.raises(UserError, match=r"^environment: HTTPS_PROXY: expected http://HOST:PORT") as refused:
        parsed("HTTPS_PROXY", written)
    assert str(refused.value).isprintable()


def test_a_login_that_the_socks_library_cannot_send_is_refused_in_a_line() -> None:
    assert parsed("X", "http://u:é@proxy:1").password == "é"
    with pytest.raises(UserError, match=r"^environment: X: user and password of a SOCKS proxy must be ASCII"):
        parsed("X", "socks5h://u:é@proxy:1")


@given(st.text(max_size=40) | st.from_regex(r"\A(https?|socks5h?)://[ -~]{0,30}\Z"))
def test_whatever_a_variable_holds_is_a_proxy_or_one_line(written: str) -> None:
    try:
        proxy = parsed("X", written)
    except UserError as error:
        assert str(error).isprintable()
    else:
        assert proxy.host and 0 < proxy.port < 65_536 and parsed("X", proxy.url) == proxy


@pytest.mark.parametrize(
    "written",
    [
        "http://user:s3cret@proxy:1",
        "s3cret@proxy:x",
        "http://user:s3cret@",
        "http://user:s3cret",
        "x:s3cret/:1",
    ],
)
def test_no_message_shows_a_password(written: str) -> None:
    try:
        said = through(parsed("HTTPS_PROXY", written), "407 Proxy Authentication Required")
        assert re.fullmatch(
            r"407 .* through the proxy http://proxy:1 \(HTTPS_PROXY\), which asks for USER:PASSWORD@ before its host",
            said,
        )
    except UserError as error:
        said = str(error)
    assert "s3cret" not in said and "user" not in said
