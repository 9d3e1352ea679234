"""What OpenLineage calls datasets: names and facets for landed data and every noun, the same as output and as input.

A name stands for a thing over time (`recommendation/candidates/sasrec`), the facet `version` for one version: a noun's id.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from openlineage.client.facet_v2 import (
    DatasetFacet,
    data_quality_assertions_dataset,
    dataset_version_dataset,
    output_statistics_output_dataset,
)
from openlineage.client.generated.base import InputDataset, OutputDataset, OutputDatasetFacet
from openlineage.client.generated.base_subset_dataset import (
    InputSubsetInputDatasetFacet,
    OutputSubsetOutputDatasetFacet,
    Partition,
    PartitionSubsetCondition,
)

from counterfoil import canonical
from counterfoil.types import (
    Bento,
    Candidate,
    Dataset,
    Decision,
    Evaluation,
    Noun,
    OnlineRows,
    Release,
    Verdict,
)
from flows.standards.facets import dataset_facet

EVENTS = "landing/events"
SAMPLES = 50


def name_of(noun: Noun) -> str:
    """Return the name that all versions of this thing share."""
    if isinstance(noun, Verdict):
        return "verdicts/snapshot" if noun.subject.startswith("dataset-") else "verdicts/days"
    family = getattr(noun, "family", None)
    if family is not None:
        seed = "" if getattr(noun, "seed", 0) == 0 or noun.kind == "attempt" else f"-seed-{noun.seed}"  # type: ignore[attr-defined]
        return f"{noun.use_case}/{noun.kind}s/{family}{seed}"  # type: ignore[attr-defined]
    use_case = getattr(noun, "use_case", None)
    return f"{use_case}/{noun.kind}" if use_case else f"{noun.kind}s"


def inputs(namespace: str, given: Mapping[str, Any], taken: Iterable[Noun]) -> list[InputDataset]:
    """Return what a verb was given as inputs: landed days and tables, then nouns; many verdicts count as one set."""
    found = []
    days = given.get("days")
    if isinstance(days, dict):
        subset = InputSubsetInputDatasetFacet(inputCondition=_partitions(days))
        facets = _only(canonical.sha256(days))
        found.append(
            InputDataset(namespace, EVENTS, facets=facets, inputFacets={"subset": subset} if days else {})
        )
    tables = given.get("tables")
    for table, sha256 in (tables or {}).items():
        found.append(InputDataset(namespace, f"landing/{table}", facets=_only(sha256)))
    verdicts: dict[str, list[str]] = defaultdict(list)
    for noun in taken:
        if isinstance(noun, Verdict):
            verdicts[name_of(noun)].append(noun.id)
        else:
            found.append(InputDataset(namespace, name_of(noun), facets=_only(noun.id)))
    for name, ids in verdicts.items():
        found.append(InputDataset(namespace, name, facets=_only(_set_of(ids))))
    return found


def outputs(namespace: str, nouns: Sequence[Noun]) -> list[OutputDataset]:
    """Return what a verb made as outputs; many verdicts count as one set."""
    verdicts: dict[str, list[str]] = defaultdict(list)
    made = []
    for noun in nouns:
        if isinstance(noun, Verdict):
            verdicts[name_of(noun)].append(noun.id)
            continue
        counted: dict[str, OutputDatasetFacet] = {}
        if isinstance(noun, Dataset | OnlineRows):
            rows = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rowCount=noun.rows)
            counted = {"outputStatistics": rows}
        made.append(OutputDataset(namespace, name_of(noun), facets=_facets(noun), outputFacets=counted))
    made += [OutputDataset(namespace, name, facets=_only(_set_of(ids))) for name, ids in verdicts.items()]
    return made


def landed(
    namespace: str, source: str, batch: str, parts: Mapping[str, Any]
) -> tuple[list[InputDataset], list[OutputDataset]]:
    """Return what a landing read, and what it wrote: `parts` are the digests of days, and of items and people where they came."""
    read = [InputDataset(namespace, f"sources/{source}", facets=_only(batch))]
    written = []
    days = parts.get("days", {})
    if days:
        facets = _only(canonical.sha256(days))
        subset = OutputSubsetOutputDatasetFacet(outputCondition=_partitions(days))
        written.append(OutputDataset(namespace, EVENTS, facets=facets, outputFacets={"subset": subset}))
    for table in ("items", "people"):
        if table in parts:
            written.append(OutputDataset(namespace, f"landing/{table}", facets=_only(parts[table])))
    return read, written


def judged(found: list[InputDataset], verdicts: Iterable[Verdict]) -> list[InputDataset]:
    """Put what verdicts found on the input that they are about: the landed days, or the dataset version."""
    by_input: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        by_input["dataset" if verdict.subject.startswith("dataset-") else EVENTS].append(verdict)
    for one in found:
        about = by_input.get(EVENTS if one.name == EVENTS else one.name.rpartition("/")[2], [])
        if about:
            facet = data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet(
                assertions=_assertions(about)
            )
            one.inputFacets = {**(one.inputFacets or {}), "dataQualityAssertions": facet}
    return found


def _assertions(verdicts: Sequence[Verdict]) -> list[data_quality_assertions_dataset.Assertion]:
    """Return one assertion per expectation, over all subjects that it was held against."""
    held: dict[tuple[str, str | None, str], list[tuple[str, Any]]] = defaultdict(list)
    for verdict in verdicts:
        for check in verdict.checks:
            held[(check.expectation, check.column, check.severity)].append((verdict.subject, check))
    said = []
    for (expectation, column, severity), found in held.items():
        failed = [subject for subject, check in found if check.errored or not check.success]
        alone = found[0][1] if len(found) == 1 else None
        actual = alone.observed if alone else f"kept by {len(found) - len(failed)} of {len(found)} days"
        said.append(
            data_quality_assertions_dataset.Assertion(
                assertion=expectation,
                success=not failed,
                column=column,
                severity="error" if severity == "critical" else "warn",
                expected=alone.expected if alone else None,
                actual=actual,
                params={"failed": failed[:SAMPLES]} if failed else {},
            )
        )
    return said


def _partitions(days: Mapping[str, str]) -> PartitionSubsetCondition:
    return PartitionSubsetCondition(
        partitions=[
            Partition(dimensions={"day": day}, identifier=sha256) for day, sha256 in sorted(days.items())
        ]
    )


def _set_of(ids: Iterable[str]) -> str:
    return f"verdicts-{canonical.sha256(sorted(ids))[:16]}"


def _only(version: str) -> dict[str, DatasetFacet]:
    return {"version": dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=version)}


def _facets(noun: Noun) -> dict[str, DatasetFacet]:
    facets = _only(noun.id)
    told = TOLD.get(type(noun))
    if told is not None:
        said = {name: value for name, value in canonical.plain(told(noun)).items() if value is not None}
        facets[f"counterfoil_{noun.kind}"] = dataset_facet(f"{noun.kind.capitalize()}DatasetFacet", **said)
    return facets


TOLD: dict[type, Callable[[Any], dict[str, Any]]] = {
    Dataset: lambda one: {
        "asOf": one.as_of,
        "holdoutFrom": one.holdout_from,
        "rows": one.rows,
        "people": one.people,
        "items": one.items,
        "featureService": one.feature_service,
        "address": one.address,
        "sha256": one.sha256,
    },
    Candidate: lambda one: {
        "family": one.family,
        "config": one.config,
        "seed": one.seed,
        "dataset": one.dataset,
        "address": one.address,
        "sha256": one.sha256,
        "fitSeconds": one.fit_seconds,
        "peakBytes": one.peak_bytes,
        "artefactBytes": one.artefact_bytes,
    },
    Evaluation: lambda one: {
        "candidate": one.candidate,
        "dataset": one.dataset,
        "units": one.units,
        "metrics": one.metrics,
    },
    Decision: lambda one: {
        "verb": one.verb,
        "winner": one.winner,
        "champion": one.champion,
        "sentences": one.sentences,
        "gateSha256": one.gate,
        "approvedBy": one.approved_by,
    },
    Bento: lambda one: {
        "tag": one.tag,
        "sha256": one.sha256,
        "candidate": one.candidate,
        "featureService": one.feature_service,
    },
    Release: lambda one: {
        "bento": one.bento,
        "decision": one.decision,
        "epoch": one.epoch,
        "stage": one.stage,
        "share": one.share,
        "validFrom": one.valid_from,
    },
}
