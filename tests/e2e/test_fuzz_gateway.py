"""The gateway fuzzed by its own OpenAPI document, before the real service of a small bento: no 5xx, no hang, no growth."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode

from tests import fuzzing
from tests.gateway_shop import Shop, shop

# What JSON schema cannot say: 10.0 is an integer to it and none to us, and it compares no two fields.
UNSAID = (
    "Input should be a valid integer",
    "is above filters.price_max",
    "Input should be greater",
    "Input should be less",
)
# Whoever asks without a key is let in here, and says so; valid questions are a test of their own, below.
NOT_HERE = "ignored_auth,positive_data_acceptance"
BY_ROW = "negative_data_rejection"  # the collector refuses row by row, within a 200


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("fuzz") / "home") as made:
        made.bento()
        made.collector()
        made.release(1, made.route("bento"))
        made.gateway()
        yield made


def fuzz(running: Shop, examples: int, folder: Path) -> None:
    for paths, left_out in (("^/events", f"{NOT_HERE},{BY_ROW}"), ("^/[^e]", NOT_HERE)):
        fuzzing.fuzz(running.url, examples, folder, left_out, paths=paths)
    assert "Traceback" not in running.log()


def test_nothing_valid_or_invalid_breaks_it(running: Shop, tmp_path: Path) -> None:
    fuzz(running, 8, tmp_path)


@pytest.mark.slow
def test_nothing_breaks_it_for_long_and_memory_stays(running: Shop, tmp_path: Path) -> None:
    fuzz(running, 60, tmp_path)
    processes = [psutil.Process(running.processes[name].pid) for name in ("gateway", "bento")]
    before = [process.memory_info().rss for process in processes]
    fuzz(running, 200, tmp_path)
    grown = [process.memory_info().rss - rss for process, rss in zip(processes, before, strict=True)]
    assert grown[0] < 8_000_000 and grown[1] < 40_000_000, grown


def test_a_valid_question_is_answered_or_refused_for_what_a_schema_cannot_say(running: Shop) -> None:
    operation = schemathesis.openapi.from_url(f"{running.url}/openapi.json")["/recommend"]["POST"]
    statuses = set()

    @seed(1)
    @settings(
        max_examples=60, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
    def asked(case: schemathesis.Case) -> None:
        answer = case.call(base_url=running.url, timeout=10)
        statuses.add(answer.status_code)
        if answer.status_code != 200:
            assert answer.status_code == 422
            reasons = [fault["reason"] for fault in answer.json()["error"]["fields"]]
            assert reasons and all(any(text in reason for text in UNSAID) for reason in reasons), reasons

    asked()
    assert 200 in statuses


def test_the_document_is_what_is_served(running: Shop) -> None:
    document = httpx.get(f"{running.url}/openapi.json").json()
    assert document["paths"]["/recommend"]["post"]["requestBody"]["content"]["application/json"][
        "schema"
    ] == {"$ref": "#/components/schemas/RecommendRequest"}
    assert document["components"]["schemas"]["RecommendRequest"]["additionalProperties"] is False
    assert not {"/metrics", "/-/stats", "/-/routes"} & set(document["paths"])
