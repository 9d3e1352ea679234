"""Who is asked for whom: what an assignment sticks to, how large the shares come out, what a copy is compared by."""

import orjson
import pytest

from bentos.gateway import forward
from bentos.gateway.choice import asked, propensity
from bentos.gateway.copies import overlap
from bentos.gateway.http import Reply, Request
from bentos.guard import Refusal
from bentos.routes import Route, Routes, assigned

CHAMPION = Route(release="r1", bento="b:1", epoch=1, url="http://a", stage="champion")


def routes(share: float) -> Routes:
    canary = Route(release="r2", bento="b:2", epoch=2, url="http://b", stage="canary", share=share)
    return Routes(use_case="recommendation", epoch=2, champion=CHAMPION, challenger=canary)


def who(body: dict) -> str | None:
    return asked(orjson.dumps(body)).who


def test_the_person_sticks_then_the_session_then_nothing() -> None:
    person = {"person": "1", "context": {"session": "s"}}
    assert who(person) == who({"person": "1"}) != who({"context": {"session": "s"}})
    session = {"context": {"session": "1"}}
    assert who(session) == who({**session, "n": 5})
    assert who(session) != who({"person": "1"})
    assert who({}) is who({"item": "a"}) is None


@pytest.mark.parametrize(
    "body", [{"person": 3}, {"person": ""}, {"context": []}, {"context": {"session": {}}}]
)
def test_fields_of_a_wrong_type_stick_to_nothing(body: dict) -> None:
    assert who(body) is None


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"1", b"null", b'{"a": NaN}', b"\xff", b"[" * 40])
def test_what_is_no_question_is_refused(body: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        asked(body)
    assert refused.value.status in (400, 422)


def test_one_percent_is_one_percent_of_people_and_stays_the_same_people() -> None:
    people = [who({"person": str(number)}) for number in range(20_000)]
    few = {name for name in people if assigned(routes(0.01), name).stage == "canary"}
    more = {name for name in people if assigned(routes(0.1), name).stage == "canary"}
    assert 150 < len(few) < 250
    assert 1850 < len(more) < 2150
    assert few < more


def test_questions_of_nobody_are_drawn_one_by_one_and_never_go_all_to_a_canary() -> None:
    """A shop's back end asks /similar for all its visitors from one address: a hundredth of that is a hundredth."""
    body = orjson.dumps({"item": "a", "n": 10})
    drawn = [assigned(routes(0.01), asked(body).who).stage for _ in range(20_000)]
    assert 120 < drawn.count("canary") < 290, "six standard deviations either way"
    assert {assigned(routes(0.0), None).stage for _ in range(100)} == {"champion"}
    assert {assigned(routes(1.0), None).stage for _ in range(100)} == {"canary"}


def test_propensities_of_the_arms_add_up() -> None:
    held = routes(0.25)
    assert held.challenger is not None
    assert (propensity(held, held.champion), propensity(held, held.challenger)) == (0.75, 0.25)
    assert propensity(routes(0.0), CHAMPION) == 1.0
    assert propensity(Routes(use_case="r", epoch=1, champion=CHAMPION), CHAMPION) == 1.0


def reply(*items: str, status: int = 200) -> Reply:
    return Reply(status, [], orjson.dumps({"items": [{"item": item} for item in items]}))


def test_overlap_is_a_share_of_the_longer_list() -> None:
    assert overlap(reply("a", "b"), reply("b", "a")) == 1.0
    assert overlap(reply("a", "b", "c", "d"), reply("a", "x")) == 0.25
    assert overlap(reply(), reply()) == 1.0
    assert overlap(reply("a"), reply()) == 0.0
    assert overlap(reply("a"), reply(status=500)) is None
    assert overlap(reply("a"), Reply(200, [], b"not json")) == 0.0


def request(**headers: str) -> Request:
    held = {name.replace("_", "-").encode(): value.encode("latin-1") for name, value in headers.items()}
    return Request("POST", "/recommend", held, b"", 0.0)


def test_a_sane_request_id_is_kept_and_another_is_made_anew() -> None:
    assert forward.request_id(request(x_request_id="web-1:7.x_y")) == b"web-1:7.x_y"
    for odd in ("", "a b", "x" * 65, 'a"', "é"):
        made = forward.request_id(request(x_request_id=odd))
        assert made != odd.encode("latin-1") and forward.SANE.fullmatch(made)


def test_a_sound_trace_context_is_passed_on_and_nothing_else() -> None:
    sound = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert forward.trace_headers(request(traceparent=sound, tracestate="a=1")) == (
        b"traceparent: " + sound.encode() + b"\r\ntracestate: a=1\r\n"
    )
    for odd in ("", "00-" + "0" * 32 + "-00f067aa0ba902b7-01", sound + "x", "ff" + sound[2:], sound.upper()):
        assert forward.trace_headers(request(traceparent=odd)) == b""


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("200", 0.2), ("99999", 1.0), ("-5", 1.0), ("x", 1.0), ("", 1.0), ("0", 0.0)],
)
def test_a_caller_may_shorten_the_time_and_not_lengthen_it(given: str, seconds: float) -> None:
    assert forward.budget(request(x_counterfoil_deadline_ms=given), 1.0) == seconds
    assert forward.budget(request(), 1.0) == 1.0
