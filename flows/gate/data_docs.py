"""Data Docs of Great Expectations, made from verdicts: what was found, subject by subject, in GX's own form, rendered by GX.

GX has evaluated once, for the verdict; evaluating a table of findings anew would double the gate's cost. The pages name
expectations, subjects and numbers of findings; no value of the data is handed over, so none can be in the pages. As Great
Expectations writes them they ask public servers for styles and scripts; `offline.py` takes that out.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterfoil.errors import InputError
from counterfoil.types import Check, Verdict
from flows.gate.engine import KEY, quiet, quiet_context
from flows.gate.offline import seal
from flows.gate.verdict import title

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuite
    from great_expectations.core import ExpectationSuiteValidationResult as SuiteResult
    from great_expectations.core import ExpectationValidationResult as Outcome
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context import EphemeralDataContext
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration as Config

BROKEN = -1.0  # stands for an expectation that could not be evaluated
SHOWN = 5  # findings that a page names


def write_data_docs(verdicts: Sequence[Verdict], folder: Path) -> Path:
    """Write the site into the folder, one page per suite, and return its `index.html`. InputError when there is no verdict."""
    if not verdicts:
        raise InputError("there is no verdict to render; validate first")
    suites = sorted({verdict.suite for verdict in verdicts})
    with quiet():
        context = quiet_context()
        context.add_data_docs_site("gate", _site(folder))
        for suite in suites:
            _render(context, suite, [verdict for verdict in verdicts if verdict.suite == suite])
    seal(folder)
    return folder / "index.html"


def _site(folder: Path) -> Any:  # GX wants a typed dict that it does not export
    return {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "store_backend": {
            "class_name": "TupleFilesystemStoreBackend",
            "base_directory": str(folder.resolve()),
        },
    }


def _render(context: "EphemeralDataContext", suite: str, verdicts: Sequence[Verdict]) -> None:
    import great_expectations as gx
    from great_expectations.data_context.types.resource_identifiers import (
        ExpectationSuiteIdentifier,
        ValidationResultIdentifier,
    )

    name = suite.partition("#")[0]
    held = context.suites.add(gx.ExpectationSuite(name=name, expectations=_expectations(verdicts[0])))
    # The moment is that of the data, so that the same verdicts give the same pages.
    run = gx.RunIdentifier(run_name=suite.partition("@")[2], run_time=_moment(verdicts))
    key = ValidationResultIdentifier(ExpectationSuiteIdentifier(name), run, f"{name}-verdicts")
    context.validation_results_store.set(key, _result(held, run, verdicts))
    rendered: list[Any] = [key, ExpectationSuiteIdentifier(name)]  # GX's hint knows lists of one kind only
    context.build_data_docs(site_names=["gate"], resource_identifiers=rendered)


def _result(suite: "ExpectationSuite", run: "RunIdentifier", verdicts: Sequence[Verdict]) -> "SuiteResult":
    """Return the verdicts in the form in which Great Expectations keeps results; nothing is evaluated a second time."""
    import great_expectations as gx
    from great_expectations.core import ExpectationSuiteValidationResult

    found = [{_column(check): _found(check) for check in verdict.checks} for verdict in verdicts]
    subjects = [verdict.subject for verdict in verdicts]
    results = [
        _outcome(config, subjects, [of.get(config.kwargs["column"], BROKEN) for of in found])
        for config in (expectation.configuration for expectation in suite.expectations)
    ]
    passed = sum(bool(result.success) for result in results)
    return ExpectationSuiteValidationResult(
        success=passed == len(results),
        results=results,
        suite_name=suite.name,
        statistics={
            "evaluated_expectations": len(results),
            "successful_expectations": passed,
            "unsuccessful_expectations": len(results) - passed,
            "success_percent": 100 * passed / len(results),
        },
        meta={"run_id": run, "great_expectations_version": gx.__version__},
    )


def _outcome(config: "Config", subjects: Sequence[str], findings: Sequence[float]) -> "Outcome":
    """Return one expectation's result over all subjects, as a look at a table of findings per subject would give it."""
    from great_expectations.core import ExpectationValidationResult

    failing = [(subject, value) for subject, value in zip(subjects, findings, strict=True) if value != 0]
    shown = [value for _, value in failing[:SHOWN]]
    rows = [{config.kwargs["column"]: value, KEY: subject} for subject, value in failing]
    share = 100 * len(failing) / len(subjects)
    return ExpectationValidationResult(
        success=not failing,
        expectation_config=config,
        result={
            "element_count": len(subjects),
            "unexpected_count": len(failing),
            "unexpected_percent": share,
            "unexpected_percent_total": share,
            "unexpected_percent_nonmissing": share,
            "missing_count": 0,
            "missing_percent": 0.0,
            "partial_unexpected_list": shown,
            "partial_unexpected_counts": [
                {"value": value, "count": count} for value, count in Counter(shown).most_common()
            ],
            "partial_unexpected_index_list": rows[:SHOWN],
            "unexpected_list": [value for _, value in failing],
            "unexpected_index_list": rows,
            "unexpected_index_column_names": [KEY],
        },
    )


def _column(check: Check) -> str:
    return title(check).replace(" ", ": ")


def _expectations(verdict: Verdict) -> list:
    import great_expectations.expectations as gxe
    from great_expectations.expectations.metadata_types import FailureSeverity

    return [
        gxe.ExpectColumnValuesToBeBetween(
            column=_column(check),
            min_value=0,
            max_value=0,
            severity=FailureSeverity(check.severity),
            description=f"{check.expectation}: {check.expected}",
        )
        for check in verdict.checks
    ]


def _found(check: Check) -> float:
    if check.errored:
        return BROKEN
    return 0.0 if check.success else float(max(check.unexpected_count, 1))


def _moment(verdicts: Sequence[Verdict]) -> datetime:
    """Return the newest day that a subject names, else the start of 1970."""
    days = [
        verdict.subject.removeprefix("day:") for verdict in verdicts if verdict.subject.startswith("day:")
    ]
    return datetime.fromisoformat(max(days, default="1970-01-01")).replace(tzinfo=UTC)
