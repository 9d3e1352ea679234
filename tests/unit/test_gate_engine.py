"""The engine believes no pass without proof: empty suites, nulls, infinities and swallowed exceptions are faults of the gate."""

import logging
from dataclasses import replace

import pandas as pd
import pytest

from counterfoil.errors import GateError, GateFault
from counterfoil.types import Check, Verdict
from flows.gate import require
from flows.gate.day_suite import day_rules, day_suite
from flows.gate.engine import evaluate, frame, raised
from flows.gate.policy import Policy
from flows.gate.suite import Expectation, Suite, suite_size
from flows.gate.verdict import verdict_of

PRICE = Expectation(
    name="in_bounds", column="price", metric="price.bad", says="none", minimum=0.0, maximum=0.0
)
VOLUME = Expectation(name="volume", column=None, metric="ratio", says="enough", unit="ratio", minimum=0.5)
SUITE = Suite("two", (PRICE, VOLUME))


def profile(**metrics: list[float]) -> pd.DataFrame:
    subjects = [f"day{n}" for n in range(len(next(iter(metrics.values()))))]
    return pd.DataFrame({"subject": subjects} | metrics)


def test_failing_subjects_are_named() -> None:
    findings = evaluate(profile(**{"price.bad": [0, 3, 0], "ratio": [1.0, 0.2, 0.1]}), SUITE)
    assert [f.failing for f in findings] == [{"day1"}, {"day1", "day2"}]
    assert [f.fault for f in findings] == [None, None]


def test_a_bound_is_inclusive() -> None:
    findings = evaluate(profile(**{"price.bad": [0.0], "ratio": [0.5]}), SUITE)
    assert [f.failing for f in findings] == [frozenset(), frozenset()]


def test_an_expectation_on_a_metric_that_is_not_there_is_a_fault() -> None:
    price, volume = evaluate(profile(**{"price.bad": [1.0, 0.0]}), SUITE)
    assert (price.failing, price.fault) == ({"day0"}, None)
    assert volume.fault is not None and volume.fault.startswith("it raised") and "ratio" in volume.fault
    assert volume.failing == frozenset()


def test_a_null_that_gx_leaves_out_of_account_is_a_fault() -> None:
    _, volume = evaluate(profile(**{"price.bad": [0.0, 0.0], "ratio": [1.0, None]}), SUITE)
    assert volume.fault == "it saw 2 values, 1 missing, of 2"


def test_an_infinity_that_gx_passes_is_a_fault() -> None:
    _, volume = evaluate(profile(**{"price.bad": [0.0, 0.0], "ratio": [1.0, float("inf")]}), SUITE)
    assert volume.fault == "the profile holds an infinity"


def test_text_where_a_number_belongs_is_a_fault() -> None:
    _, volume = evaluate(profile(**{"price.bad": [0.0], "ratio": ["much"]}), SUITE)  # type: ignore[list-item]
    assert volume.fault is not None


def test_an_empty_suite_and_an_empty_profile_are_faults() -> None:
    with pytest.raises(GateFault, match="no expectation"):
        evaluate(profile(ratio=[1.0]), Suite("none", ()))
    with pytest.raises(GateFault, match="no rows"):
        evaluate(profile(**{"price.bad": [], "ratio": []}), SUITE)
    with pytest.raises(GateFault, match="twice"):
        evaluate(pd.DataFrame({"subject": ["a", "a"], "price.bad": [0.0, 0.0], "ratio": [1.0, 1.0]}), SUITE)


def test_what_great_expectations_raises_is_a_fault() -> None:
    nonsense = Suite("wrong", (replace(VOLUME, severity="loud"),))  # type: ignore[arg-type]
    with pytest.raises(GateFault, match="Great Expectations broke on suite 'wrong'"):
        evaluate(profile(ratio=[1.0]), nonsense)


def test_bounds_that_are_upside_down_are_never_a_pass() -> None:
    (volume,) = evaluate(profile(ratio=[1.5]), Suite("wrong", (replace(VOLUME, minimum=2.0, maximum=1.0),)))
    assert volume.fault is not None


def test_swallowed_exceptions_are_found_in_both_of_their_forms() -> None:
    plain = {"raised_exception": True, "exception_message": "no such column", "exception_traceback": "..."}
    quiet = {"raised_exception": False, "exception_message": None, "exception_traceback": None}
    assert raised(plain) == "no such column"
    assert raised({"('metric', 1)": quiet, "('metric', 2)": plain}) == "no such column"
    assert raised(quiet) is None
    assert raised({}) is None


def test_nothing_is_printed_and_nothing_is_logged(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    evaluate(profile(**{"price.bad": [0, 3], "ratio": [1.0, 0.2]}), SUITE)
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    assert [r for r in caplog.records if r.levelno >= logging.INFO] == []


def verdict(suite: Suite, row: dict[str, float]) -> Verdict:
    findings = evaluate(profile(**{name: [value] for name, value in row.items()}), suite)
    return verdict_of(
        suite, findings, key="day0", subject="day:2026-01-01", sha256="ab", row={"rows": 10} | row, samples={}
    )


def test_a_broken_expectation_makes_a_faulted_verdict_and_require_says_so() -> None:
    found = verdict(SUITE, {"price.bad": 0.0})
    assert (found.passed, found.faulted) == (False, True)
    assert [c.errored for c in found.checks] == [False, True]
    with pytest.raises(GateFault, match="1 expectations broke, first volume"):
        require([found])


def test_a_fault_outweighs_bad_data() -> None:
    with pytest.raises(GateFault):
        require([verdict(SUITE, {"price.bad": 4.0, "ratio": 1.0}), verdict(SUITE, {"price.bad": 0.0})])


def test_a_failed_warning_passes_and_a_failed_critical_does_not() -> None:
    lenient = Suite("two", (replace(PRICE, severity="warning"), VOLUME))
    require([verdict(lenient, {"price.bad": 4.0, "ratio": 1.0})])
    with pytest.raises(GateError) as caught:
        require([verdict(SUITE, {"price.bad": 4.0, "ratio": 1.0})])
    assert not isinstance(caught.value, GateFault)
    assert str(caught.value) == (
        "the gate refused 1 of 1 (day:2026-01-01) for 1 critical expectations (price in_bounds; 1 findings); "
        "mend the data and land it again"
    )


def test_fewer_checks_than_the_suite_holds_are_a_fault() -> None:
    whole = verdict(SUITE, {"price.bad": 0.0, "ratio": 1.0})
    assert suite_size(whole.suite) == 2
    require([whole])
    with pytest.raises(GateFault, match="1 of 2 expectations"):
        require([replace(whole, checks=whole.checks[:1])])
    with pytest.raises(GateFault, match="0 of 0 expectations"):
        require([replace(whole, checks=(), suite="none#0@00")])
    with pytest.raises(GateFault, match="does not say how many"):
        require([replace(whole, suite="handmade")])


def test_no_verdict_is_no_pass() -> None:
    with pytest.raises(GateFault, match="nothing was validated"):
        require([])


def test_a_pass_that_its_own_checks_contradict_is_refused() -> None:
    bad = Check(expectation="unique", column="id", severity="critical", success=False, unexpected_count=3)
    liar = Verdict(subject="day:x", sha256="ab", rows=1, passed=True, checks=(bad,), suite="one#1@00")
    with pytest.raises(GateError, match="id unique; 3 findings"):
        require([liar])


def test_gx_evaluates_every_expectation_of_the_day_suite() -> None:
    policy = Policy()
    suite = day_suite(policy, day_rules(clocked=True))
    row = {e.metric: e.minimum if e.minimum is not None else 0.0 for e in suite.expectations}
    findings = evaluate(frame({"d": row}, suite), suite)
    assert len(findings) == len(suite.expectations) == suite_size(suite.identity) > 90
    assert [f.expectation.metric for f in findings if f.fault or f.failing] == []
