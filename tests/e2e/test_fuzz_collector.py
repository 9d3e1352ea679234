"""The collector fuzzed by its own OpenAPI document: no 5xx, no hang, and what the document allows is taken."""

import re
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode

from bentos import inner
from tests import fuzzing
from tests.collector_process import Running, collector

# What JSON Schema does not say: bounds of times, what a kind of event requires, and that one of two fields is there.
UNSAID = re.compile(r"time is|this kind of event needs|is missing")


NOT_HERE = "ignored_auth,positive_data_acceptance,negative_data_rejection"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with collector(tmp_path_factory.mktemp("fuzz") / "home") as made:
        yield made


def fuzz(running: Running, examples: int, folder: Path) -> None:
    client = running.client
    headers = {inner.TOKEN: client.headers[inner.TOKEN]}
    fuzzing.fuzz(str(client.base_url).rstrip("/"), examples, folder, NOT_HERE, headers=headers)
    assert "Traceback" not in (running.home / "collector.log").read_text()


def test_nothing_valid_or_invalid_breaks_it(running: Running, tmp_path: Path) -> None:
    fuzz(running, 30, tmp_path)


@pytest.mark.slow
def test_nothing_breaks_it_for_long_and_memory_stays(running: Running, tmp_path: Path) -> None:
    fuzz(running, 300, tmp_path)
    before = psutil.Process(running.process.pid).memory_info().rss
    fuzz(running, 1500, tmp_path)
    assert psutil.Process(running.process.pid).memory_info().rss - before < 30_000_000


def test_what_the_document_allows_is_taken_or_refused_for_what_it_cannot_say(running: Running) -> None:
    schema = schemathesis.openapi.from_dict(running.client.get("/openapi.json").json())
    outcomes = set()

    @seed(1)
    @settings(
        max_examples=80, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=schema["/events"]["POST"].as_strategy(generation_mode=GenerationMode.POSITIVE))
    def posted(case: schemathesis.Case) -> None:
        answer = running.client.post("/events", json=case.body)
        assert answer.status_code == 200, (answer.text, case.body)
        for row in answer.json()["events"]:
            outcomes.add(row["status"])
            assert row["status"] != "refused" or UNSAID.search(row["reason"]), row

    posted()
    assert "refused" in outcomes
