import asyncio
import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bentos import guard
from bentos.guard import Guard


async def echo(scope: Any, receive: Any, send: Any) -> None:
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message["body"]})


def ask(
    parts: list[bytes], headers: dict[str, str], method: str = "POST", kind: str = "http"
) -> tuple[int, bytes]:
    """Send a body in parts through the guard; return status and body of the answer."""
    messages = [
        {"type": "http.request", "body": part, "more_body": index + 1 < len(parts)}
        for index, part in enumerate(parts)
    ]
    sent: list[dict[str, Any]] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(dict(message))

    scope = {
        "type": kind,
        "method": method,
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    asyncio.run(Guard(echo)(scope, receive, send))
    return (sent[0]["status"], sent[1]["body"]) if sent else (0, b"")


JSON = {"content-type": "application/json"}


def test_json_goes_through_word_for_word() -> None:
    assert ask([b'{"a":', b" 1}"], JSON) == (200, b'{"a": 1}')
    assert ask([b"{}"], {"content-type": "Application/JSON; charset=utf-8"}) == (200, b"{}")


def test_a_get_without_a_body_goes_through() -> None:
    assert ask([b""], {}, method="GET") == (200, b"")


@pytest.mark.parametrize(
    "kind",
    [
        "application/vnd.bentoml+pickle",
        "application/x-pickle",
        "application/octet-stream",
        "application/python-pickle",
        "multipart/form-data; boundary=x",
        "text/plain",
        "application/json+pickle",
        "",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_anything_but_json_is_refused_by_every_method(kind: str, method: str) -> None:
    status, body = ask([b"\x80\x04."], {"content-type": kind}, method)
    assert status == 415
    assert orjson.loads(body)["error"]["kind"] == "media_type"


def test_a_body_without_a_type_is_refused() -> None:
    assert ask([b"{}"], {})[0] == 415


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip"])
def test_compressed_bodies_are_refused(encoding: str) -> None:
    assert ask([b"\x1f\x8b"], {**JSON, "content-encoding": encoding})[0] == 415


def test_a_body_may_have_one_megabyte_and_no_byte_more() -> None:
    assert ask([b"x" * 500_000, b"x" * 500_000], JSON)[0] == 200
    assert ask([b"x" * 500_000, b"x" * 500_001], JSON)[0] == 413


def test_an_announced_size_is_refused_before_a_byte_is_read() -> None:
    assert ask([], {**JSON, "content-length": "1000001"})[0] == 413


def test_a_body_that_breaks_off_is_refused() -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Guard(echo)({"type": "http", "headers": []}, receive, send))
    assert sent[0]["status"] == 400


def test_a_body_that_never_comes_is_given_up() -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.sleep(60)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Guard(echo, body_seconds=0.05)({"type": "http", "headers": []}, receive, send))
    assert sent[0]["status"] == 408


def test_websockets_get_no_further() -> None:
    assert ask([b""], {}, kind="websocket") == (0, b"")


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        (b"[" * 33 + b"]" * 33, 33),
        (b'{"a":' * 40 + b"1" + b"}" * 40, 40),
        (b'["' + b"[" * 100 + b'"]', 1),
        (b'["\\"' + b"[" * 100 + b'"]', 1),
        (b"[]" * 50, 1),
        (b'"' + b'\\"[' * 100, 0),  # a string that never ends
        (b'"' + b"[" * 100 + b"\\", 0),
        (b"[" * 32 + b"]" * 32, 0),  # few brackets are not looked at
        (b"", 0),
    ],
)
def test_depth_counts_brackets_outside_of_strings(text: bytes, levels: int) -> None:
    assert guard.depth(text) == levels


def test_deep_json_is_refused() -> None:
    status, body = ask([b"[" * 500_000 + b"]" * 500_000], JSON)
    assert status == 400
    assert orjson.loads(body)["error"]["kind"] == "depth"


@pytest.mark.parametrize("unit", [b"[", b'"', b'\\"', b'"\\', b'["', b"\\", b'{"a":'])
def test_no_text_takes_long_to_judge(unit: bytes) -> None:
    text = b"[" * 40 + unit * (1_000_000 // len(unit) - 40)
    start = time.process_time()
    guard.depth(text)
    assert time.process_time() - start < 1.0  # measured: 0.03 s; a quadratic one takes minutes


def plain_depth(text: bytes) -> int:
    """The depth by a walk that looks at one byte after another."""
    level = deepest = at = 0
    within = False
    while at < len(text):
        byte = text[at : at + 1]
        if within and byte == b"\\":
            at += 1
        elif byte == b'"':
            within = not within
        elif not within:
            level += (byte in b"[{") - (byte in b"]}")
            deepest = max(deepest, level)
        at += 1
    return deepest


ODD = st.text('[]{}"\\a/\n', max_size=12)
ANY = st.recursive(
    ODD | st.integers(0, 9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ODD, inner, max_size=3),
)


@given(ANY)
def test_depth_is_that_of_a_plain_walk_whatever_is_in_strings(value: object) -> None:
    text = orjson.dumps([value, ["{[" * 20]])
    assert guard.depth(text) == plain_depth(text)
