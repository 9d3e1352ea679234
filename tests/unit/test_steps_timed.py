"""Each step of an answer is timed: of models of several steps by what they tell, of those that tell nothing as a whole."""

from collections.abc import Callable

import numpy as np
import pytest

from bentos.recommend.flow import Stages
from tests.unit.test_true_reasons import Answers, Person, answers, asked  # noqa: F401  # a fixture


def test_two_stages_tell_their_steps(answers: Answers) -> None:  # noqa: F811
    stages = Stages()
    answers.answer(asked(n=5), Person(), stages)
    assert [*stages.ms] == [
        "features",
        "sources",
        "candidates",
        "signals",
        "rank",
        "model",
        "rerank",
        "reasons",
    ]
    assert all(took >= 0 for took in stages.ms.values())


def test_a_step_in_pieces_is_their_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter(np.cumsum([0.0, 1.0, 2.0, 4.0]).tolist())
    clock: Callable[[], float] = lambda: next(moments)  # noqa: E731
    monkeypatch.setattr("bentos.recommend.flow.time.perf_counter", clock)
    stages = Stages()
    for step in ("sources", "model", "sources"):
        stages.done(step)
    assert stages.ms == {"sources": 5000.0, "model": 2000.0}
