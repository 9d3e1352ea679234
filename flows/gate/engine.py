"""Great Expectations at work: a suite is evaluated on a profile, and a pass is believed only with proof that it was evaluated.

GX passes empty suites, empty frames and null values, and swallows exceptions into its results: each is looked for here.
"""

import importlib
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from counterfoil.errors import GateFault
from flows.gate.suite import Expectation, Suite

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.data_context import EphemeralDataContext
    from great_expectations.datasource.fluent.interfaces import Batch

KEY = "subject"  # the profile's column that names its rows
GX = "great_expectations"
Results = dict[int, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Finding:
    """What GX said of one expectation: the subjects that break it; `fault` says why it could not be evaluated."""

    expectation: Expectation
    failing: frozenset[str]
    fault: str | None = None


def evaluate(profile: "pd.DataFrame", suite: Suite) -> tuple[Finding, ...]:
    """Let GX evaluate every expectation of the suite on the profile (one row per subject, column `subject` names it).

    Returns one finding per expectation, in the suite's order. Raises GateFault for an empty suite or an empty profile.
    """
    if not suite.expectations:
        raise GateFault(
            f"suite {suite.name!r} holds no expectation, so a pass would say nothing; mend the suite"
        )
    if profile.empty or not profile[KEY].is_unique:
        raise GateFault(f"the profile for suite {suite.name!r} has no rows or names a subject twice")
    results = _run(profile, suite)
    return tuple(
        _finding(expectation, results.get(number), profile)
        for number, expectation in enumerate(suite.expectations)
    )


def warm() -> None:
    """Begin to import GX, which takes some three seconds, beside whatever comes next; who needs it then waits for the rest."""
    threading.Thread(target=importlib.import_module, args=(f"{GX}.expectations",), daemon=True).start()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep GX's logging of what it finds out of ours: the verdict says it. Some of its modules set their own level."""
    import great_expectations.expectations  # noqa: F401  # makes the loggers

    every = [logging.getLogger(name) for name in list(logging.root.manager.loggerDict) if name.startswith(GX)]
    loud = [logger for logger in every if not logger.disabled]
    for logger in loud:
        logger.disabled = True
    try:
        yield
    finally:
        for logger in loud:
            logger.disabled = False


def quiet_context() -> "EphemeralDataContext":
    """Return a context of GX that lives in memory and draws no progress bars."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context


def frame(rows: Mapping[str, Mapping[str, float]], suite: Suite) -> "pd.DataFrame":
    """Return the profile as GX takes it: one row per subject, the suite's metrics and the subject's name."""
    import pandas as pd

    metrics = sorted({e.metric for e in suite.expectations})
    return pd.DataFrame({KEY: list(rows), **{m: [row[m] for row in rows.values()] for m in metrics}})


def _run(profile: "pd.DataFrame", suite: Suite) -> Results:
    """Return GX's own result (as JSON types) by the expectation's number in the suite; what GX raises is a GateFault."""
    try:
        with quiet():
            return _validate(profile, suite)
    except Exception as fault:
        text = f"{type(fault).__name__}: {fault}"[:200]
        raise GateFault(
            f"Great Expectations broke on suite {suite.name!r} ({text}); the gate needs mending"
        ) from fault


def _validate(profile: "pd.DataFrame", suite: Suite) -> Results:
    """Evaluate all; those that fail once more, in the form that names the failing subjects and costs half as much again."""
    asset = quiet_context().data_sources.add_pandas("profile").add_dataframe_asset("profile")
    batch = asset.add_batch_definition_whole_dataframe("whole").get_batch({"dataframe": profile})
    results = _evaluate(batch, suite, range(len(suite.expectations)), "BASIC")
    failed = [n for n, r in results.items() if not r["success"] and raised(r["exception_info"]) is None]
    return results | _evaluate(batch, suite, failed, "COMPLETE") if failed else results


def _evaluate(batch: "Batch", suite: Suite, numbers: Sequence[int], form: str) -> Results:
    """Let GX evaluate these expectations of the suite on the batch."""
    import great_expectations as gx
    import great_expectations.expectations as gxe
    from great_expectations.expectations.metadata_types import FailureSeverity

    chosen = ((number, suite.expectations[number]) for number in numbers)
    expectations = [
        gxe.ExpectColumnValuesToBeBetween(
            column=e.metric,
            min_value=e.minimum,
            max_value=e.maximum,
            severity=FailureSeverity(e.severity),
            meta={"number": number},
        )
        for number, e in chosen
    ]
    # No partial lists: a result holds the names of failing subjects and the profile's counts, never a value of the data.
    wanted = {"result_format": form, "partial_unexpected_count": 0}
    wanted |= {"unexpected_index_column_names": [KEY]} if form == "COMPLETE" else {}
    result = batch.validate(
        gx.ExpectationSuite(name=suite.name, expectations=expectations), result_format=wanted
    )
    configs = ((r, r.expectation_config) for r in result.results)
    return {config.meta["number"]: r.to_json_dict() for r, config in configs if config and config.meta}


def _finding(expectation: Expectation, result: Mapping[str, Any] | None, profile: "pd.DataFrame") -> Finding:
    fault = _fault(result, len(profile))
    if fault is None and not np.isfinite(profile[expectation.metric].to_numpy(float)).all():
        fault = "the profile holds an infinity"  # which GX passes when that side is open
    if fault or result is None:
        return Finding(expectation, frozenset(), fault)
    failing = frozenset(str(row[KEY]) for row in result["result"].get("unexpected_index_list") or ())
    if bool(result["success"]) != (not failing) or result["result"]["unexpected_count"] != len(failing):
        return Finding(expectation, failing, "its success and its list of failures contradict each other")
    return Finding(expectation, failing)


def _fault(result: Mapping[str, Any] | None, rows: int) -> str | None:
    """Say why a result cannot be believed, or None. GX leaves values that are null out of account: that is one reason."""
    if result is None:
        return "it was not evaluated"
    message = raised(result.get("exception_info") or {})
    if message is not None:
        return f"it raised {message}"
    found = result.get("result") or {}
    seen, missing = found.get("element_count", 0), found.get("missing_count")
    return None if (seen, missing) == (rows, 0) else f"it saw {seen} values, {missing} missing, of {rows}"


def raised(info: Mapping[str, Any]) -> str | None:
    """Return the message of a swallowed exception, or None; GX keeps one, or one per metric."""
    if "raised_exception" in info:
        return str(info.get("exception_message") or "an exception") if info["raised_exception"] else None
    return next((message for part in info.values() if (message := raised(part)) is not None), None)
