import json
from pathlib import Path

import pytest

from tests.flows.replay.reading import found_symbols, read

US = 1_735_689_600_500_000


def events(n: int = 8, symbol: str = "BTCUSDT") -> list[dict[str, object]]:
    ms = US // 1000
    return [
        {
            "e": "trade",
            "E": ms + k * 500 + 1,
            "s": symbol,
            "t": k + 1,
            "p": "100.0",
            "q": "1.0",
            "T": ms + k * 500,
            "m": k % 2 == 0,
        }
        for k in range(n)
    ]


def lines(*args: object, **kwargs: object) -> list[str]:
    return [json.dumps(event, separators=(",", ":")) for event in events(*args, **kwargs)]  # type: ignore[arg-type]


def test_symbols_in_lower_case_are_read(tmp_path: Path) -> None:
    path = tmp_path / "lower.ndjson"
    assert len(read(path, "\n".join(lines(symbol="btcusdt")))) == 8 and found_symbols(path) == ["BTCUSDT"]


@pytest.mark.parametrize("ascii_only", [True, False])
def test_symbols_of_any_script_are_read_however_json_writes_them(tmp_path: Path, ascii_only: bool) -> None:
    path = tmp_path / "han.ndjson"
    text = "\n".join(json.dumps(event, ensure_ascii=ascii_only) for event in events(symbol="测试币usdt"))
    assert len(read(path, text, ("测试币USDT",))) == 8 and found_symbols(path) == ["测试币USDT"]


def test_a_byte_order_mark_is_passed_over_also_between_files_that_were_joined(tmp_path: Path) -> None:
    text = "\ufeff" + "\n".join(lines()[:4]) + "\n\ufeff" + "\n".join(lines()[4:])
    found = read(tmp_path / "frames.ndjson", text)
    assert (found.id.tolist(), found.unreadable) == (list(range(1, 9)), 0)


@pytest.mark.parametrize(
    "stamp",
    [
        "1723.5: ",
        "1723161255343123456 ",
        "1723161255.343\t",
        "2024-08-09T00:00:00.123456Z ",
        "2024-08-09 00:00:00,123 - INFO - ",
        "[2024-08-09 00:00:00] ",
        "[2024-08-09 00:00:00] [feed] < ",
        "1723161255343|btcusdt@trade|",
    ],
)
def test_what_a_logger_writes_before_a_message_is_passed_over(tmp_path: Path, stamp: str) -> None:
    found = read(tmp_path / "frames.log", "\n".join(stamp + line for line in lines()))
    assert (len(found), found.unreadable) == (8, 0)


@pytest.mark.parametrize("separator", ["", " ", "\r", "\r\n", ","])
def test_frames_in_one_line_are_read(tmp_path: Path, separator: str) -> None:
    text = separator.join(lines())
    assert len(read(tmp_path / "frames", f"[{text}]" if separator == "," else text)) == 8


def test_frames_in_pages_and_over_several_lines_are_read(tmp_path: Path) -> None:
    assert len(read(tmp_path / "pages.json", f"[{','.join(lines()[:3])}]\n[{','.join(lines()[3:])}]")) == 8
    assert (
        len(
            read(
                tmp_path / "pretty.json",
                json.dumps([{"stream": "btcusdt@trade", "data": event} for event in events()], indent=2),
            )
        )
        == 8
    )


def test_a_recording_may_begin_and_end_within_a_line(tmp_path: Path) -> None:
    text = "\n".join(lines())
    found = read(tmp_path / "cut.ndjson", text[30:-20])
    assert (found.id.tolist(), found.unreadable) == ([2, 3, 4, 5, 6, 7], 2)


def test_comments_before_the_first_frame_are_passed_over(tmp_path: Path) -> None:
    found = read(
        tmp_path / "r.ndjson",
        "\n".join(['# recorded at home, don\'t "panic" {', "wss://stream.example.com/ws", *lines()]),
    )
    assert len(found) == 8


def test_the_order_of_keys_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "r.ndjson"
    text = "\n".join(
        json.dumps({key: event[key] for key in ("s", "T", "q", "p", "t", "m", "E", "e")})
        for event in events()
    )
    assert len(read(path, text)) == 8 and found_symbols(path) == ["BTCUSDT"]


def test_two_spellings_of_a_symbol_are_one(tmp_path: Path) -> None:
    path = tmp_path / "r.ndjson"
    assert len(read(path, "\n".join(lines()[:4] + lines(symbol="btcusdt")[4:]))) == 8 and found_symbols(
        path
    ) == ["BTCUSDT"]


def test_other_symbols_are_foreign(tmp_path: Path) -> None:
    path = tmp_path / "r.ndjson"
    found = read(path, "\n".join(lines() + lines(symbol="BTCUSDT_250328") + lines(symbol="xrpusdt")))
    assert (len(found), found.foreign) == (8, 16) and found_symbols(path) == [
        "BTCUSDT",
        "BTCUSDT_250328",
        "XRPUSDT",
    ]
