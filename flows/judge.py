"""Whether a challenger goes on, a stage further, or back: a pure function of counts, asked again every second.

Each test keeps its chance of a false alarm however often it is asked, and whenever it is stopped. Rates: exact confidence
sequences by Robbins' beta-binomial mixture (Howard, Ramdas, McAuliffe and Sekhon, Time-uniform, nonparametric, nonasymptotic
confidence sequences, Annals of Statistics 2021). Latency: the same of how many answers lie below a quantile (Howard and Ramdas,
Sequential estimation of quantiles, Bernoulli 2022). Clicks: the mixture sequential probability ratio test (Johari, Koomen,
Pekelis and Walsh, Always Valid Inference, Operations Research 2022), whose normal approximation asks for some clicks first.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from bentos.gateway.stats import quantile_of
from counterfoil.types import Rollout, Stage

PRIOR = 0.5  # of the mixture, both sides: Jeffreys'
WINDOW_SHARE = 1e-3  # of alpha, for each test on the latest seconds alone
LIFT = 0.01  # standard deviation of the differences in click rate that the test is sharpest for
LATELY_SECONDS = 10
MIDDLE = 0.5  # the quantile that is looked at beside that of the rollout
SUPPOSED = 0.5  # rate of failed, and of empty, answers of a champion of which nothing is known: no shop would call it usual
UNKNOWN = (
    "Nothing is known of the champion before it to hold this one against (was the gateway restarted?): only if surely more than"
    " half of its answers fail or are empty is it taken back."
)
FEW_SHOWN, FEW_CLICKS = 200, 10
Course = Literal["go on", "advance", "take back"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """What was counted of one release. Refused requests are in none of it; `live` of the requests were people's, not copies.

    `latency` has the number of answers by index into the bounds that the judge is given, one beyond them for the rest. What a
    challenger's and its champion's answers waited in line is not in it, where both tell that: copies wait for quiet moments,
    people's requests for each other.
    """

    requests: int = 0
    live: int = 0
    failed: int = 0
    empty: int = 0
    latency: Mapping[int, int] = field(default_factory=dict)
    shown: int = 0
    clicks: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """Both arms since the stage began, and over the latest `LATELY_SECONDS`; the champion over the latest minute, too.

    A fault that comes late would drown in what went well before. The minute says what is usual for the champion, its latest
    seconds whether something has just befallen both.
    """

    challenger: Arm
    champion: Arm
    challenger_lately: Arm = Arm()
    champion_lately: Arm = Arm()
    champion_minute: Arm = Arm()


@dataclass(frozen=True, kw_only=True, slots=True)
class Ruling:
    """What is to be done, and why, in sentences."""

    course: Course
    sentences: tuple[str, ...]


def judge(
    rollout: Rollout,
    stage: Stage,
    seconds: float,
    counted: Counted,
    bounds_ms: Sequence[float],
    waited: float | None = None,
) -> Ruling:
    """Rule on a challenger that has answered in its stage for so many seconds. No data is no promotion.

    `waited` is how long ago it was released to that stage, which is what patience counts; by default as long as it has answered.
    """
    faults = _faults(rollout, counted, bounds_ms)
    if faults:
        return Ruling(course="take back", sentences=tuple(faults))
    waits = _waits(rollout, stage, seconds, counted, bounds_ms)
    if not waits:
        return Ruling(course="advance", sentences=(_passed(rollout, seconds, counted, bounds_ms),))
    waited = seconds if waited is None else waited
    if waited >= rollout.patience_seconds:
        spent = f"After {waited:,.0f} s the patience of {rollout.patience_seconds:,.0f} s is spent."
        return Ruling(course="take back", sentences=(spent, *waits))
    return Ruling(course="go on", sentences=tuple(waits))


def watch(rollout: Rollout, fresh: Counted, bounds_ms: Sequence[float]) -> Ruling:
    """Rule on a new champion (in the place of the challenger) against what was counted of the one before it.

    Where nothing was, nothing can be said to be worse. Then the one before is supposed to have failed half of its answers, and to
    have left half of them empty: the new one is taken back when its rate is surely above that by more than `max_errors` or
    `max_empty`, since or lately. Of latency nothing is supposed.
    """
    known = fresh.champion.requests > 0
    faults = _faults(rollout, fresh, bounds_ms) if known else _alone(rollout, fresh)
    said = () if known else (UNKNOWN,)
    return Ruling(course="take back" if faults else "go on", sentences=(*faults, *said))


def sequence(successes: int, trials: int, alpha: float) -> tuple[float, float]:
    """Return bounds between which the rate lies at all times at once with chance 1 - alpha: (0, 1) without trials."""
    if not trials:
        return 0.0, 1.0
    middle, limit = successes / trials, math.log(1 / alpha)
    low = 0.0 if not successes else _crossing(successes, trials, limit, 0.0, middle)
    high = 1.0 if successes == trials else _crossing(successes, trials, limit, 1.0, middle)
    return low, high


def quantile_sequence(
    latency: Mapping[int, int], quantile: float, alpha: float, bounds_ms: Sequence[float]
) -> tuple[float, float]:
    """Return bounds in ms between which a quantile lies at all times at once with chance 1 - alpha; (0, inf) without answers.

    The histogram's steps widen it: the lower bound is the lower edge of its bucket, the upper one the upper edge.
    """
    trials, below, limit = sum(latency.values()), 0, math.log(1 / alpha)
    low, high = 0.0, math.inf
    for place in sorted(latency):
        # as many lie below this bucket as below all that are empty before it; none at all where it is the first
        if below / trials < quantile and _log_mixture(below, trials, quantile) >= limit:
            low = bounds_ms[place - 1] if place else 0.0
        below += latency[place]
        if below / trials > quantile and _log_mixture(below, trials, quantile) >= limit:
            high = bounds_ms[place] if place < len(bounds_ms) else math.inf
            break
    return low, high


def fewer_clicks(challenger: Arm, champion: Arm, alpha: float) -> bool:
    """Say whether the challenger is surely clicked less often, by the mixture sequential probability ratio test."""
    shown, clicks = min(challenger.shown, champion.shown), challenger.clicks + champion.clicks
    if shown < FEW_SHOWN or clicks < FEW_CLICKS:
        return False
    ours, theirs = challenger.clicks / challenger.shown, champion.clicks / champion.shown
    pooled = clicks / (challenger.shown + champion.shown)
    spread = pooled * (1 - pooled) * (1 / challenger.shown + 1 / champion.shown)
    if ours >= theirs or spread <= 0:
        return False
    whole = spread + LIFT**2
    log_ratio = 0.5 * math.log(spread / whole) + LIFT**2 * (ours - theirs) ** 2 / (2 * spread * whole)
    return log_ratio >= math.log(1 / alpha)


def _log_mixture(successes: int, trials: int, rate: float) -> float:
    """Return the logarithm of the mixture martingale for that rate: large where the counts speak against it."""
    failures = trials - successes
    made = _log_beta(PRIOR + successes, PRIOR + failures) - _log_beta(PRIOR, PRIOR)
    under = 0.0
    if successes:
        under += successes * (math.log(rate) if rate > 0 else -math.inf)
    if failures:
        under += failures * (math.log1p(-rate) if rate < 1 else -math.inf)
    return made - under


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _crossing(successes: int, trials: int, limit: float, outer: float, inner: float) -> float:
    """Return where the martingale comes to the limit between a rate that it refuses and the one that was seen."""
    for _ in range(50):
        middle = (outer + inner) / 2
        if _log_mixture(successes, trials, middle) >= limit:
            outer = middle
        else:
            inner = middle
    return outer


class _Span(NamedTuple):
    """A stretch of time: both arms, what the champion does right now, and the chance of a false alarm within it."""

    challenger: Arm
    champion: Arm
    now: Arm
    alpha: float
    when: str


def _longer(counted: Counted) -> Arm:
    """Return what says most of what is usual for the champion: early in a stage, the minute that reaches back before it."""
    minute = counted.champion_minute
    return minute if minute.requests > counted.champion.requests else counted.champion


def _faults(rollout: Rollout, counted: Counted, bounds_ms: Sequence[float]) -> list[str]:
    """Return a sentence per ceiling that is surely broken, since the stage began or lately."""
    spans = (
        _Span(counted.challenger, _longer(counted), counted.champion, rollout.alpha, ""),
        _Span(
            counted.challenger_lately, counted.champion_minute, counted.champion_lately,
            rollout.alpha * WINDOW_SHARE, " lately",
        ),
    )  # fmt: skip
    found: dict[str, str] = {}
    for span in spans:
        for what, said in (
            ("errors", _rate(span, "failed", rollout.max_errors)),
            ("empty", _rate(span, "empty", rollout.max_empty)),
            ("latency", _slow(span, rollout, bounds_ms)),
        ):
            if said:
                found.setdefault(what, said)
    if fewer_clicks(counted.challenger, counted.champion, rollout.alpha):
        found["clicks"] = _clicks(counted.challenger, counted.champion)
    return list(found.values())


def _alone(rollout: Rollout, fresh: Counted) -> list[str]:
    """Return a sentence per ceiling that is surely broken by itself, without anybody to compare with."""
    found: dict[str, str] = {}
    for arm, alpha, when in (
        (fresh.challenger, rollout.alpha, ""),
        (fresh.challenger_lately, rollout.alpha * WINDOW_SHARE, " lately"),
    ):
        for count, verb, more in (
            (arm.failed, "failed", rollout.max_errors),
            (arm.empty, "were empty", rollout.max_empty),
        ):
            low, _ = sequence(count, arm.requests, alpha / 2)
            if low > SUPPOSED + more:
                said = f"{count:,} of {arm.requests:,} answers {verb}{when} ({_share(count, arm.requests)})"
                found.setdefault(verb, f"{said}: surely above {SUPPOSED + more:.2%}, whoever came before.")
    return list(found.values())


def _rate(span: _Span, what: Literal["failed", "empty"], more: float) -> str:
    """Return the sentence that says so when the challenger's rate is surely above the champion's by more than that."""
    ours, theirs = getattr(span.challenger, what), getattr(span.champion, what)
    low, _ = sequence(ours, span.challenger.requests, span.alpha / 2)
    high = sequence(theirs, span.champion.requests, span.alpha / 2)[1] if span.champion.requests else 0.0
    now = getattr(span.now, what) / span.now.requests if span.now.requests else 0.0
    if low <= max(high, now) + more:
        return ""
    verb, answers, others = (
        "failed" if what == "failed" else "were empty",
        span.challenger.requests,
        span.champion.requests,
    )
    return (
        f"{ours:,} of {answers:,} answers {verb}{span.when} ({_share(ours, answers)}, surely above {low:.2%}); of the champion's"
        f" {theirs:,} of {others:,} ({_share(theirs, others)}, surely below {high:.2%}); {more:.2%} more is allowed."
    )


def _slow(span: _Span, rollout: Rollout, bounds_ms: Sequence[float]) -> str:
    """Return the sentence that says so when the challenger is surely too slow, at the rollout's quantile or in the middle.

    Its tail is found out by three answers; but where many ask, all tails are long, and hide that it takes three times as long.
    """
    said = (_slow_at(quantile, span, rollout, bounds_ms) for quantile in (rollout.quantile, MIDDLE))
    return next(filter(None, said), "")


def _slow_at(quantile: float, span: _Span, rollout: Rollout, bounds_ms: Sequence[float]) -> str:
    low, _ = quantile_sequence(span.challenger.latency, quantile, span.alpha / 2, bounds_ms)
    _, high = quantile_sequence(span.champion.latency, quantile, span.alpha / 2, bounds_ms)
    if not low > rollout.max_latency * max(high, _quantile(span.now.latency, quantile, bounds_ms)):
        return ""
    return (
        f"The slowest {1 - quantile:.0%} of the answers took{span.when} surely {low:.1f} ms or more, where {quantile:.0%} of the"
        f" champion's took surely {high:.1f} ms or less: {low / high:.1f} times as much, and {rollout.max_latency:g} is allowed."
    )


def _clicks(challenger: Arm, champion: Arm) -> str:
    return (
        f"{challenger.clicks:,} of {challenger.shown:,} shown items were clicked ({_share(challenger.clicks, challenger.shown)}),"
        f" of the champion's {champion.clicks:,} of {champion.shown:,} ({_share(champion.clicks, champion.shown)}): surely fewer."
    )


def _waits(
    rollout: Rollout, stage: Stage, seconds: float, counted: Counted, bounds_ms: Sequence[float]
) -> list[str]:
    """Return what keeps a challenger from the next stage, in sentences."""
    challenger, champion = counted.challenger, counted.champion
    answered = challenger.requests if stage == "shadow" else challenger.live
    found = []
    if seconds < rollout.stage_seconds:
        found.append(f"The stage has lasted {seconds:,.0f} s of {rollout.stage_seconds:,.0f} s.")
    if answered < rollout.stage_requests:
        found.append(f"The challenger has answered {answered:,} of {rollout.stage_requests:,} requests.")
    if champion.requests < rollout.stage_requests:
        found.append(
            f"The champion has answered {champion.requests:,} of the {rollout.stage_requests:,} requests to compare with."
        )
    return found or _doubts(rollout, challenger, champion, bounds_ms)


def _doubts(rollout: Rollout, challenger: Arm, champion: Arm, bounds_ms: Sequence[float]) -> list[str]:
    """Return a sentence per ceiling above which the challenger seems to be, though not surely: then it waits."""
    found = []
    for what, more in (("failed", rollout.max_errors), ("empty", rollout.max_empty)):
        ours = getattr(challenger, what) / challenger.requests
        theirs = getattr(champion, what) / champion.requests
        if ours > theirs + more:
            found.append(f"{ours:.2%} {what} answers against {theirs:.2%} seem too many; it is not sure yet.")
    for quantile in (rollout.quantile, MIDDLE):
        ours, theirs = (_quantile(arm.latency, quantile, bounds_ms) for arm in (challenger, champion))
        if ours > rollout.max_latency * theirs:
            said = f"{quantile:.0%} within {ours:.1f} ms against {theirs:.1f} ms"
            found.append(f"{said} seem too long; it is not sure yet.")
    return found


def _quantile(latency: Mapping[int, int], quantile: float, bounds_ms: Sequence[float]) -> float:
    return quantile_of(latency, quantile, bounds_ms) or 0.0


def _passed(rollout: Rollout, seconds: float, counted: Counted, bounds_ms: Sequence[float]) -> str:
    challenger, champion = counted.challenger, counted.champion
    ours, theirs = (_quantile(arm.latency, rollout.quantile, bounds_ms) for arm in (challenger, champion))
    return (
        f"In {seconds:,.0f} s {challenger.requests:,} answers ({challenger.live:,} to people): {challenger.failed:,} failed,"
        f" {challenger.empty:,} empty, {rollout.quantile:.0%} within {ours:.1f} ms; of the champion's {champion.requests:,}"
        f" {champion.failed:,} failed, {champion.empty:,} were empty, within {theirs:.1f} ms. Nothing is surely worse."
    )


def _share(count: int, of: int) -> str:
    return f"{count / of:.2%}" if of else "none"
