"""The loop as one composition: UseCase + as_of -> Dataset -> Candidate* -> Evaluation* -> Decision -> Release.

`steps` holds the verbs; here nobody knows whether they are plain functions or Prefect tasks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from counterfoil.types import Candidate, Dataset, Decision, Evaluation, Release, UseCase, Verdict
from flows.steps import Steps


@dataclass(frozen=True, kw_only=True, slots=True)
class Advanced:
    """What one turn of the loop came to. `release` is None when nothing was promoted, or people have yet to approve."""

    verdicts: tuple[Verdict, ...]
    dataset: Dataset
    candidates: tuple[Candidate, ...]
    evaluations: tuple[Evaluation, ...]
    decision: Decision
    release: Release | None


def advance(case: UseCase, as_of: datetime, steps: Steps) -> Advanced:
    """Turn the loop once for a use case with what was known before `as_of`.

    Raises GateError when the data may not be learned from; the champion then goes on serving.
    """
    days, tables = steps.days(as_of), steps.tables()
    verdicts = steps.validate(days, tables, case.data_policy)
    dataset = steps.snapshot(case.name, case.features, as_of, days, tables, steps.require(verdicts))
    snapshot_verdict = steps.inspect(dataset, steps.champion(case, dataset), case.data_policy)
    steps.require((snapshot_verdict,))
    candidates = tuple(
        steps.fit(case.name, dataset, config, case.seed, label=config.family) for config in case.contenders
    )
    evaluations = tuple(
        steps.evaluate(dataset, candidate, label=candidate.family) for candidate in candidates
    )
    defender = steps.defender(case, dataset, candidates)
    defending = steps.evaluate(dataset, defender, label="champion") if defender else None
    refitted = refits(case, dataset, evaluations, steps)
    decision = steps.decide(case, dataset, snapshot_verdict, evaluations, defending, refitted)
    steps.materialise(dataset, steps.online())
    release = None
    if decision.verb == "promote":
        bento = steps.package(case, dataset, decision)
        if not steps.waits_for(case, decision):
            release = steps.release(case, decision, bento)
    return Advanced(
        verdicts=(*verdicts, snapshot_verdict),
        dataset=dataset,
        candidates=candidates,
        evaluations=evaluations,
        decision=decision,
        release=release,
    )


def refits(
    case: UseCase, dataset: Dataset, evaluations: Sequence[Evaluation], steps: Steps
) -> tuple[Evaluation, ...]:
    """Fit the leading contender again with the gate's other seeds, to learn how much of its lead is luck.

    A family that no seed can change is not fitted again.
    """
    from models.families import family

    leader = max(evaluations, key=lambda evaluation: evaluation.metrics[case.gate.primary])
    if not family(leader.family).seeded:
        return ()
    config = next(config for config in case.contenders if config.family == leader.family)
    out = []
    for seed in case.gate.noise_seeds:
        candidate = steps.fit(case.name, dataset, config, seed, label=f"{leader.family}, seed {seed}")
        out.append(steps.evaluate(dataset, candidate, label=f"{leader.family}, seed {seed}"))
    return tuple(out)
