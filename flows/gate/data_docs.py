"""Data Docs of Great Expectations, made from verdicts: GX holds a table of findings against "none", and renders what it sees.

The pages name expectations, subjects and numbers of findings; there is no value of the data in the table, so none can be in
the pages. As Great Expectations writes them they ask public servers for styles and scripts; `offline.py` takes that out.
"""

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
    import pandas as pd
    from great_expectations.data_context import EphemeralDataContext

BROKEN = -1.0  # stands for an expectation that could not be evaluated: GX would leave a null out of account


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
    from great_expectations.checkpoint import UpdateDataDocsAction

    name = suite.partition("#")[0]
    batch = (
        context.data_sources.add_pandas(name)
        .add_dataframe_asset("verdicts")
        .add_batch_definition_whole_dataframe("all")
    )
    held = context.suites.add(gx.ExpectationSuite(name=name, expectations=_expectations(verdicts[0])))
    definition = gx.ValidationDefinition(name=name, data=batch, suite=held)
    checkpoint = gx.Checkpoint(
        name=name,
        validation_definitions=[context.validation_definitions.add(definition)],
        actions=[UpdateDataDocsAction(name="docs", site_names=["gate"])],
        result_format={
            "result_format": "COMPLETE",
            "unexpected_index_column_names": [KEY],
            "partial_unexpected_count": 5,
        },
    )
    # The moment is that of the data, so that the same verdicts give the same pages.
    run = gx.RunIdentifier(run_name=suite.partition("@")[2], run_time=_moment(verdicts))
    context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": _findings(verdicts)}, run_id=run)


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


def _findings(verdicts: Sequence[Verdict]) -> "pd.DataFrame":
    """Return one row per subject and one column per expectation: how many findings, 0 for none, -1 for broken."""
    import pandas as pd

    rows = [{KEY: v.subject, **{_column(check): _found(check) for check in v.checks}} for v in verdicts]
    return pd.DataFrame(rows).fillna(BROKEN)


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
