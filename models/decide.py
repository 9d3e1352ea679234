"""Decide whether a contender replaces the champion. Pure: numbers in, a verdict in numbers and sentences out.

A contender is promoted only if
1. it was measured on the reference's units, on enough of them, with a finite value on each;
2. the paired bootstrap interval of its lead in the primary metric lies above the bar: the gate's margin or, where
   that is more, what refits with other seeds differ by (a lead that luck can give is none);
3. it breaks no guardrail, floor or ceiling (models/guardrails.py).
Intervals are joint: with m contenders each is taken at 1 - 0.05/m (Bonferroni), so that trying many buys no luck. Of
several that pass, the highest mean wins; equals go to the first by evaluation id. Seconds break no ties, since a
decision repeated must come out the same.

Reject: every contender is shown not to clear the bar, or breaks a rule. Hold: the data cannot tell. On a first run
there is no champion: contenders are compared with the baseline, which itself wins nothing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from counterfoil.errors import InputError
from counterfoil.types import Comparison, Gate, Verb
from models.bootstrap import RESAMPLES, intervals
from models.guardrails import breaches

CONFIDENCE = 0.95

Interval = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One evaluation as the gate sees it: `values` are the primary metric per unit, `units` say whose they are."""

    id: str
    family: str
    units: np.ndarray
    values: np.ndarray
    metrics: Mapping[str, float]
    slices: Mapping[str, Mapping[str, float]]
    cost: Mapping[str, float]


class Weighed(NamedTuple):
    """The verdict: `winner` is an evaluation id, or None; one comparison per contender, in the order given."""

    verb: Verb
    winner: str | None
    comparisons: tuple[Comparison, ...]
    sentences: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Judged:
    comparison: Comparison
    standing: Literal["passes", "unclear", "out"]
    sentence: str


def decide(
    gate: Gate,
    contenders: Sequence[Contender],
    champion: Contender | None,
    baseline: str,
    noise: Mapping[str, float],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Weighed:
    """Weigh contenders against the champion, or against the family `baseline` when there is none.

    `noise` says per family by how much refits with other seeds differ in the primary metric (0.0: no seed changes it);
    a family that is missing there was not refitted and cannot be promoted yet. The same seed gives the same verdict.
    InputError when the baseline is missing or an id comes twice.
    """
    if len({contender.id for contender in contenders}) != len(contenders):
        raise InputError("two contenders have the same evaluation id; give each once")
    if not contenders:
        return Weighed("hold", None, (), ("No contender was evaluated, so nothing can be promoted.",))
    reference = champion or _baseline(contenders, baseline)
    rivals = [contender for contender in contenders if contender.id != reference.id]
    confidence = 1 - (1 - CONFIDENCE) / max(1, len(rivals))

    def interval(value_CU: np.ndarray) -> np.ndarray:
        return intervals(value_CU, confidence, seed, resamples)

    judged = {
        one.id: _judge(gate, one, reference, _luck(one, reference, noise), interval) for one in contenders
    }
    standings = {rival.id: judged[rival.id].standing for rival in rivals}
    passed = [rival for rival in rivals if standings[rival.id] == "passes"]
    winner = min(passed, key=lambda one: (-judged[one.id].comparison.value, one.id), default=None)
    verb: Verb = (
        "promote" if winner else "hold" if "unclear" in standings.values() or not rivals else "reject"
    )
    opening = _opening(gate, champion, reference, len(rivals))
    told = [judged[rival.id].sentence for rival in rivals]
    return Weighed(
        verb,
        None if winner is None else winner.id,
        tuple(judged[contender.id].comparison for contender in contenders),
        (*opening, *told, _closing(winner, verb, len(passed), champion)),
    )


def noise_of(fits: Iterable[tuple[str, float]], seeded: Mapping[str, bool] | None = None) -> dict[str, float]:
    """Return per family by how much its fits differ: the range of the primary metric over seeds.

    `fits` are (family, mean) of every fit. A family that no seed can change (`seeded` says so; the registry by
    default) has 0.0; a seeded one that was fitted only once is left out: its noise is unknown.
    """
    from models.families import FAMILIES  # imports a family's libraries; deciding alone needs none of them

    means: dict[str, list[float]] = {}
    for family, mean in fits:
        means.setdefault(family, []).append(mean)
    return {
        family: max(values) - min(values)
        for family, values in means.items()
        if len(values) > 1 or not (FAMILIES[family].seeded if seeded is None else seeded[family])
    }


def _judge(
    gate: Gate, contender: Contender, reference: Contender, luck: float | None, interval: Interval
) -> _Judged:
    """Hold one contender against the three rules."""
    unfit = _unfit(contender, reference)
    if unfit:
        broken_model = not np.isfinite(contender.values).all()
        return _judged(
            _alone(contender, luck), "out" if broken_model else "unclear", (unfit,), "cannot be compared"
        )
    if len(contender.units) < gate.min_units:
        few = f"there are only {len(contender.units)} units, the gate wants {gate.min_units}"
        return _judged(_alone(contender, luck), "unclear", (few,), "cannot be judged")
    comparison = _compare(contender, reference, luck, interval)
    assert comparison.difference_low is not None
    assert comparison.difference_high is not None
    bar = max(gate.margin, luck or 0.0)
    broken = () if contender is reference else breaches(gate, contender, reference)
    if broken or comparison.difference_high <= bar:
        words = "does not clear" if comparison.difference_high <= bar else "stands against"
        return _judged(comparison, "out", broken, f"{words} {_bar(gate.margin, luck)}")
    if comparison.difference_low <= bar:
        return _judged(
            comparison, "unclear", (), f"may be luck: its interval does not clear {_bar(gate.margin, luck)}"
        )
    if luck is None:
        unknown = (
            f"{contender.family} was not refitted with other seeds, so how much luck moves it is unknown"
        )
        return _judged(comparison, "unclear", (unknown,), f"clears {_bar(gate.margin, luck)}")
    return _judged(comparison, "passes", (), f"clears {_bar(gate.margin, luck)}")


def _compare(
    contender: Contender, reference: Contender, luck: float | None, interval: Interval
) -> Comparison:
    """Return the contender's mean and its lead over the reference, with joint intervals."""
    lead_U = contender.values - reference.values
    (low, high), (lead_low, lead_high) = interval(np.stack([contender.values, lead_U]).astype(np.float64))
    return Comparison(
        evaluation=contender.id,
        family=contender.family,
        value=float(contender.values.mean()),
        low=float(low),
        high=float(high),
        difference=float(lead_U.mean()),
        difference_low=float(lead_low),
        difference_high=float(lead_high),
        noise=luck,
    )


def _alone(contender: Contender, luck: float | None) -> Comparison:
    """Return a comparison without a lead, over what is finite (0 where nothing is), since records hold no NaN."""
    finite_U = contender.values[np.isfinite(contender.values)]
    value = float(finite_U.mean()) if len(finite_U) else 0.0
    return Comparison(
        evaluation=contender.id,
        family=contender.family,
        value=value,
        low=value,
        high=value,
        difference=None,
        difference_low=None,
        difference_high=None,
        noise=luck,
    )


def _unfit(contender: Contender, reference: Contender) -> str | None:
    """Say why the two cannot be paired, or None."""
    for who in (contender, reference):
        odd = int((~np.isfinite(who.values)).sum())
        if odd:
            return f"{odd} of {len(who.values)} units of {who.family} have no finite value"
    if not len(contender.units):
        return f"{contender.family} was measured on no unit"
    if len(contender.values) != len(reference.values) or not np.array_equal(contender.units, reference.units):
        return f"{contender.family} and {reference.family} were not measured on the same units"
    return None


def _luck(contender: Contender, reference: Contender, noise: Mapping[str, float]) -> float | None:
    """Return the noise that a lead must clear: the greater of the two families'; None when the contender's is unknown."""
    own = noise.get(contender.family)
    if own is None or not np.isfinite(own):
        return None
    return max(own, noise.get(reference.family, 0.0))


def _baseline(contenders: Sequence[Contender], baseline: str) -> Contender:
    for contender in contenders:
        if contender.family == baseline:
            return contender
    families = ", ".join(contender.family for contender in contenders)
    raise InputError(
        f"the baseline {baseline!r} is not among the contenders {families}; add it to the use case"
    )


def _judged(
    comparison: Comparison,
    standing: Literal["passes", "unclear", "out"],
    reasons: tuple[str, ...],
    words: str,
) -> _Judged:
    figures = f"{comparison.family} {comparison.value:.4f} ({comparison.low:.4f} to {comparison.high:.4f})"
    if comparison.difference is not None:
        lead = f"{comparison.difference:+.4f} ({comparison.difference_low:+.4f} to {comparison.difference_high:+.4f})"
        figures += f", lead {lead},"
    because = f"; but {' and '.join(reasons)}" if reasons else ""
    return _Judged(
        comparison=replace(comparison, breaches=reasons),
        standing=standing,
        sentence=f"{figures} {words}{because}.",
    )


def _bar(margin: float, luck: float | None) -> str:
    if luck is not None and luck > margin:
        return f"the {luck:.4f} that refits with other seeds differ by"
    return f"the margin of {margin:.4f}"


def _opening(gate: Gate, champion: Contender | None, reference: Contender, rivals: int) -> tuple[str, ...]:
    what = f"{gate.primary} on the same {len(reference.units):,} units"
    if champion is None:
        first = f"There is no champion yet: contenders are compared by {what} with the baseline {reference.family} instead."
    else:
        first = f"Contenders are compared by {what} with the champion {reference.family}."
    joint = (
        f" Intervals hold at 95% for all {rivals} contenders together."
        if rivals > 1
        else " Intervals hold at 95%."
    )
    return (first + joint,)


def _closing(winner: Contender | None, verb: Verb, passed: int, champion: Contender | None) -> str:
    if winner is not None:
        best = f"the best of {passed} that pass" if passed > 1 else "the only one that passes"
        return f"Promote {winner.family}, {best}."
    stays = "nothing is released" if champion is None else f"the champion {champion.family} stays"
    if verb == "hold":
        return f"Hold: the data cannot tell whether a contender is better, so {stays}."
    return f"Reject: no contender is better by the gate's rules, so {stays}."
