"""Decide whether a contender replaces the champion. Pure: numbers in, a verdict in numbers and sentences out.

A contender is promoted only if
1. it was measured on the reference's units, on enough of them, with a finite value on each;
2. the paired bootstrap interval of its lead in the primary metric lies above the bar: the gate's margin or, where
   that is more, what refits with other seeds differ by (a lead that luck can give is none);
3. it breaks no guardrail, floor or ceiling (models/guardrails.py).
Intervals of leads are joint (max-T, models/bootstrap.py), so that trying many contenders buys no luck. Contenders that lie below
their bar by more standard errors than sqrt(2 log log units) do not count there: they cannot win by luck, and an interval
widened for them would hide a true lead (Hansen: A test for superior predictive ability, 2005). Of several that pass, the
highest mean wins; equals go to the first by evaluation id. Seconds break no ties, since a decision repeated must come
out the same.

Reject: every contender is shown not to clear the bar, or breaks a rule. Hold: the data cannot tell. On a first run
there is no champion: contenders are compared with the baseline, which itself wins nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np

from counterfoil.errors import InputError
from counterfoil.types import Comparison, Gate, Verb
from models.bootstrap import RESAMPLES, joint, percentile, resampled
from models.guardrails import Draws, Held, hold, silent

CONFIDENCE = 0.95

Standing = Literal["passes", "unclear", "out"]
PASSES: Standing = "passes"
UNCLEAR: Standing = "unclear"
OUT: Standing = "out"

Intervals = Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One evaluation as the gate sees it: `values` are the primary metric per unit, `units` say whose they are.

    `parts` holds, per bound of the gate that is about a slice, that metric per unit, NaN for who is not in the slice.
    """

    id: str
    family: str
    units: np.ndarray
    values: np.ndarray
    metrics: Mapping[str, float]
    cost: Mapping[str, float]
    parts: Mapping[str, np.ndarray] = field(default_factory=dict)


class Weighed(NamedTuple):
    """The verdict: `winner` is an evaluation id, or None; one comparison per contender, in the order given."""

    verb: Verb
    winner: str | None
    comparisons: tuple[Comparison, ...]
    sentences: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Judged:
    comparison: Comparison
    standing: Standing
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
    fit = [one for one in contenders if not _unfit(gate, one, reference)[1]]
    luck = {one.id: _luck(one, reference, noise) for one in contenders}
    interval = _intervals(
        fit, reference, {name: max(gate.margin, by or 0.0) for name, by in luck.items()}, seed, resamples
    )
    judged = {
        one.id: _judge(gate, one, reference, luck[one.id], interval, Draws(seed, resamples))
        for one in contenders
    }
    standings = {rival.id: judged[rival.id].standing for rival in rivals}
    passed = [rival for rival in rivals if standings[rival.id] == PASSES]
    winner = min(passed, key=lambda one: (-judged[one.id].comparison.value, one.id), default=None)
    verb: Verb = "promote" if winner else "hold" if UNCLEAR in standings.values() or not rivals else "reject"
    opening = _opening(gate, champion, reference, len(rivals))
    told = [judged[rival.id].sentence for rival in rivals]
    return Weighed(
        verb,
        None if winner is None else winner.id,
        tuple(judged[contender.id].comparison for contender in contenders),
        (*opening, *told, *_silent(gate, reference), _closing(winner, verb, len(passed), champion)),
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
    gate: Gate,
    contender: Contender,
    reference: Contender,
    luck: float | None,
    interval: Intervals,
    draws: Draws,
) -> _Judged:
    """Hold one contender against the three rules."""
    standing, unfit = _unfit(gate, contender, reference)
    if unfit:
        return _judged(_alone(contender, luck), standing, (unfit,), "cannot be compared")
    (low, high), (lead_low, lead_high) = interval[contender.id]
    comparison = replace(
        _alone(contender, luck),
        low=float(low),
        high=float(high),
        difference=float((contender.values - reference.values).mean()),
        difference_low=float(lead_low),
        difference_high=float(lead_high),
    )
    bar = max(gate.margin, luck or 0.0)
    told = _bar(gate.margin, luck)
    held = (
        Held((), ())
        if contender is reference
        else hold(gate, contender, reference, seed=draws.seed, resamples=draws.resamples)
    )
    broken = held.breaches
    if lead_high <= bar:
        return _judged(comparison, OUT, broken, f"does not clear {told}", held.doubts)
    if lead_low <= bar:
        words = f"may be luck: its interval does not clear {told}"
        return _judged(comparison, OUT if broken else UNCLEAR, broken, words, held.doubts)
    if broken or luck is not None:
        return _judged(comparison, OUT if broken else PASSES, broken, f"clears {told}", held.doubts)
    unknown = f"{contender.family} was not refitted with other seeds, so how much luck moves it is unknown"
    return _judged(comparison, UNCLEAR, (unknown,), f"clears {told}", held.doubts)


def _intervals(
    contenders: Sequence[Contender],
    reference: Contender,
    bars: Mapping[str, float],
    seed: int,
    resamples: int,
) -> Intervals:
    """Return per contender the intervals of its mean (by itself) and of its lead (joint), [2, 2]; all share the resamples."""
    if not contenders:
        return {}
    value_CU = np.stack([one.values for one in contenders]).astype(np.float64)
    lead_CU = value_CU - reference.values
    mean_RC = resampled(np.concatenate([value_CU, lead_CU]), seed, resamples)
    own_RC, lead_RC = mean_RC[:, : len(contenders)], mean_RC[:, len(contenders) :]
    lead_C, bar_C = lead_CU.mean(axis=1), np.array([bars[one.id] for one in contenders])
    hopeless = np.sqrt(2 * np.log(np.log(max(lead_CU.shape[1], 16))))
    counted_C = (lead_C - bar_C > -hopeless * lead_RC.std(axis=0)) & [
        one.id != reference.id for one in contenders
    ]
    leads_C2 = joint(lead_C, lead_RC, CONFIDENCE, counted_C)
    found_C22 = np.stack([percentile(own_RC, CONFIDENCE), leads_C2], axis=1)
    return {one.id: found_C22[place] for place, one in enumerate(contenders)}


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


def _unfit(gate: Gate, contender: Contender, reference: Contender) -> tuple[Standing, str]:
    """Say why the two cannot be paired and what follows; an empty reason when they can."""
    for who, standing in ((contender, OUT), (reference, UNCLEAR)):
        odd = int((~np.isfinite(who.values)).sum())
        if odd:
            return standing, f"{odd} of {len(who.values)} units of {who.family} have no finite value"
    if len(contender.values) != len(reference.values) or not np.array_equal(contender.units, reference.units):
        return UNCLEAR, f"{contender.family} and {reference.family} were not measured on the same units"
    if len(contender.units) < max(1, gate.min_units):
        return UNCLEAR, f"there are only {len(contender.units)} units, the gate wants {gate.min_units}"
    return PASSES, ""


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
    standing: Standing,
    reasons: tuple[str, ...],
    words: str,
    doubts: tuple[str, ...] = (),
) -> _Judged:
    figures = f"{comparison.family} {comparison.value:.4f} ({comparison.low:.4f} to {comparison.high:.4f})"
    if comparison.difference is not None:
        lead = f"{comparison.difference:+.4f} ({comparison.difference_low:+.4f} to {comparison.difference_high:+.4f})"
        figures += f", lead {lead},"
    because = f"; but {' and '.join(reasons)}" if reasons else ""
    because += f"; {' and '.join(doubts)}, which may be luck" if doubts else ""
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
    together = (
        f" Intervals of leads hold at 95% for all {rivals} contenders together."
        if rivals > 1
        else " Intervals hold at 95%."
    )
    return (first + together,)


def _silent(gate: Gate, reference: Contender) -> tuple[str, ...]:
    """Say which slices have too few units to block anybody; nothing where each has enough, or nobody at all."""
    few = {name: units for name, units in silent(gate, reference).items() if units}
    if not few:
        return ()
    named = " and ".join(f"{name} ({units})" for name, units in few.items())
    return (f"Too few units to speak, the gate wants {gate.min_slice_units}: {named}.",)


def _closing(winner: Contender | None, verb: Verb, passed: int, champion: Contender | None) -> str:
    if winner is not None:
        best = f"the best of {passed} that pass" if passed > 1 else "the only one that passes"
        return f"Promote {winner.family}, {best}."
    stays = "nothing is released" if champion is None else f"the champion {champion.family} stays"
    if verb == "hold":
        return f"Hold: the data cannot tell whether a contender is better, so {stays}."
    return f"Reject: no contender is better by the gate's rules, so {stays}."
