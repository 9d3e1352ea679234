"""`counterfoil tune`: search a family's space on the newest dataset of a use case, and fit the best config as a candidate.

Every trial passes the recording seam, so the catalog is the memory of the search: after a kill -9, or with a larger budget, the
same command remembers what was tried and goes on. The use case is a value and is not changed here: what is printed can be
pasted into it.
"""

from typing import Any

from counterfoil import canonical, terminal
from counterfoil.catalog import Outcome as Passage
from counterfoil.catalog import Recorder
from counterfoil.errors import UnknownError
from counterfoil.types import Attempt, Dataset, FamilyConfig, UseCase
from flows import verbs
from flows.place import Place, open_place
from flows.running import only_run
from flows.standards import openlineage
from flows.steps import Steps, recorder, steps
from flows.use_cases import use_case
from models.config import code_of, differing, space
from models.families import family as registered
from models.tune import Budget, Outcome, Proposal, Tuned, tune


def run(
    name: str, family: str, minutes: float | None, trials: int | None, stages: terminal.Stages
) -> dict[str, Any]:
    """Tune, and show each trial as it ends. InputError for a budget that ends nowhere; UnknownError for an unknown name."""
    budget = Budget(trials=trials, minutes=minutes)
    place, case = open_place(), use_case(name)

    def on_end(passage: Passage) -> None:
        note = "[dim]remembered[/]" if passage.skipped else ""
        if passage.verb == "attempt":
            note = f"{_said(place.catalog.get(passage.nouns[0]))} {note}"
        stages.done(passage.verb, passage.label, passage.seconds, note)

    with openlineage.flow_run(place, "tune", case.name) as run:
        memory = recorder(place, run)
        memory.on_start, memory.on_end = stages.start, on_end
        return tune_family(place, case, family, budget, memory)


def tune_family(place: Place, case: UseCase, family: str, budget: Budget, memory: Recorder) -> dict[str, Any]:
    """Return the trials, the config that won, and what it does on the holdout as a candidate."""
    base = _base(case, family)
    dataset = _newest(place, case)
    do = steps(place, memory)
    study = canonical.sha256(
        {
            "family": family,
            "base": base,
            "space": space(base),
            "seed": case.seed,
            "metric": case.gate.primary,
        }
    )[:16]
    attempts: list[Attempt] = []

    def attempt(proposal: Proposal) -> Outcome:
        label = f"{family}, trial {proposal.number}"
        tried = do.attempt(dataset, study, case.gate.primary, case.seed, proposal, label=label)
        attempts.append(tried)
        return Outcome(
            state=tried.state,
            value=tried.value,
            first=tried.first,
            reason=tried.reason,
            seconds=tried.seconds,
        )

    try:
        tuned = tune(base, attempt, budget, seed=case.seed)
    finally:
        verbs.chooser_of.cache_clear()
    with only_run(place, case.name):
        return _told(case, dataset, base, tuned, attempts, study, do)


def _told(
    case: UseCase,
    dataset: Dataset,
    base: FamilyConfig,
    tuned: Tuned,
    attempts: list[Attempt],
    study: str,
    do: Steps,
) -> dict[str, Any]:
    """Fit and evaluate the best as a candidate, and return all that is to be said."""
    candidate = do.fit(
        case.name, dataset, tuned.config, case.seed, chosen_by=tuple(attempts), label=f"{base.family}, tuned"
    )
    evaluation = do.evaluate(dataset, candidate, label=f"{base.family}, tuned")
    return {
        "use_case": case.name,
        "family": base.family,
        "dataset": dataset.id,
        "study": study,
        "metric": case.gate.primary,
        "ended": tuned.ended,
        "trials": [
            {
                "attempt": one.id,
                "number": one.number,
                "state": one.state,
                "value": one.value,
                "first": one.first,
                "bar": one.bar,
                "reason": one.reason,
                "seconds": one.seconds,
                "config": one.config,
            }
            for one in attempts
        ],
        "best": None if tuned.best is None else tuned.best.proposal.number,
        "value": None if tuned.best is None else tuned.best.outcome.value,
        "base_value": tuned.trials[0].outcome.value if tuned.trials else None,
        "config": canonical.plain(tuned.config),
        "changed": differing(tuned.config),
        "code": code_of(tuned.config),
        "candidate": candidate.id,
        "evaluation": evaluation.id,
        "metrics": evaluation.metrics,
    }


def _base(case: UseCase, family: str) -> FamilyConfig:
    """Return the config to begin with: the contender's, else the family's defaults. UnknownError when there is no such family."""
    config: type = registered(family).config
    made: FamilyConfig = next((one for one in case.contenders if one.family == family), None) or config()
    return made


def _newest(place: Place, case: UseCase) -> Dataset:
    datasets = place.catalog.find(Dataset, case.name, limit=1)
    if not datasets:
        raise UnknownError(
            f"{case.name} has no dataset to tune on yet; run `counterfoil run {case.name}` first"
        )
    return datasets[0]


def _said(attempt: Any) -> str:
    if attempt.state == "complete":
        return f"{attempt.metric} {attempt.value:.4f}"
    return f"[dim]{attempt.state}: {attempt.reason}[/]"


def show(told: dict[str, Any]) -> None:
    """Show the trials, best first, and what to paste into the use case."""
    done = sorted(
        told["trials"], key=lambda one: (one["value"] is None, -(one["value"] or 0.0), one["number"])
    )
    if done:
        rows = [
            [str(one["number"]), one["state"], one["value"], one["first"], one["seconds"], one["reason"]]
            for one in done
        ]
        title = f"{told['family']}: {told['metric']} on what {told['dataset']} allows to choose by"
        terminal.table(title, ["trial", "state", "value", "first rung", "s", "why"], rows)
    terminal.OUT.print(f"{len(done)} trials: {told['ended']}", highlight=False)
    terminal.OUT.print(
        f"[bold]{told['candidate']}[/]: {told['metric']} {told['metrics'][told['metric']]:.4f} on the holdout",
        highlight=False,
    )
    if done:
        gained = f"{told['value']:.4f} on the validation, trial 0 (as it is) {told['base_value']:.4f}"
        terminal.OUT.print(f"best is trial {told['best']}: {gained}", highlight=False)
        terminal.OUT.print("to let it contend, write it into the use case:", highlight=False)
    terminal.OUT.print(told["code"], highlight=False, markup=False, soft_wrap=True)
