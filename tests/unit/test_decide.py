"""The decision: what promotes, what never does, and what it says."""

from dataclasses import replace

import numpy as np
import pytest

from counterfoil import canonical
from counterfoil.errors import InputError
from counterfoil.types import Gate
from models.bootstrap import intervals
from models.decide import Contender, Weighed, decide, noise_of

GATE = Gate(primary="ndcg@10", margin=0.0, min_units=100)
QUIET = {"popularity": 0.0, "repurchase": 0.0, "als": 0.0, "sasrec": 0.0}


def contender(family: str, values: np.ndarray, **metrics: float) -> Contender:
    return Contender(
        id=f"evaluation-{family}",
        family=family,
        units=np.arange(len(values)),
        values=values,
        metrics={"ndcg@10": float(np.mean(values)), "coverage@10": 0.2, **metrics},
        cost={"score_ms": 5.0, "artefact_bytes": 1e6},
        parts=parts(values),
    )


def parts(values: np.ndarray, new: float = 0.1) -> dict[str, np.ndarray]:
    """Return a slice of 40 units that all have the same value, one of 29 units, and one of nobody."""
    place_U = np.arange(len(values))
    return {
        "ndcg@10[new people]": np.where(place_U < 40, new, np.nan),
        "ndcg@10[a few people]": np.where(place_U < 29, new, np.nan),
        "ndcg@10[nobody]": np.full(len(values), np.nan),
    }


def scores(seed: int, units: int = 400, mean: float = 0.3) -> np.ndarray:
    """Draw plausible per-unit nDCG: a third of zeros, the rest up to 1."""
    random = np.random.default_rng(seed)
    return np.where(random.random(units) < 1 / 3, 0.0, random.beta(2, 3, units) * mean / 0.2667)


CHAMPION = contender("popularity", scores(0))
BETTER = contender("repurchase", np.clip(CHAMPION.values + 0.05 + 0.02 * scores(1), 0, 1))


def against(challenger: Contender, *, gate: Gate = GATE, champion: Contender | None = CHAMPION) -> Weighed:
    contenders = [challenger] if champion else [CHAMPION, challenger]
    return decide(gate, contenders, champion, "popularity", QUIET)


def test_a_planted_lift_promotes() -> None:
    verdict = against(BETTER)
    assert (verdict.verb, verdict.winner) == ("promote", "evaluation-repurchase")
    (comparison,) = verdict.comparisons
    assert comparison.difference == pytest.approx(float((BETTER.values - CHAMPION.values).mean()))
    assert comparison.difference_low < comparison.difference < comparison.difference_high
    assert comparison.low < comparison.value < comparison.high
    assert comparison.breaches == ()
    assert verdict.sentences[0] == (
        "Contenders are compared by ndcg@10 on the same 400 units with the champion popularity. Intervals hold at 95%."
    )
    assert verdict.sentences[-1] == "Promote repurchase, the only one that passes."


def test_the_first_run_says_that_there_is_no_champion() -> None:
    verdict = against(BETTER, champion=None)
    assert verdict.verb == "promote"
    assert verdict.sentences[0].startswith(
        "There is no champion yet: contenders are compared by ndcg@10 on the same 400 units with the baseline popularity instead."
    )
    assert [comparison.family for comparison in verdict.comparisons] == ["popularity", "repurchase"]
    assert verdict.comparisons[0].difference == 0.0


def test_the_baseline_wins_nothing_on_the_first_run() -> None:
    verdict = decide(GATE, [CHAMPION], None, "popularity", QUIET)
    assert (verdict.verb, verdict.winner) == ("hold", None)
    assert verdict.sentences[-1].endswith("so nothing is released.")


def test_a_clearly_worse_contender_is_rejected_and_the_champion_stays() -> None:
    verdict = against(contender("als", CHAMPION.values * 0.8))
    assert (verdict.verb, verdict.winner) == ("reject", None)
    assert (
        verdict.sentences[-1]
        == "Reject: no contender is better by the gate's rules, so the champion popularity stays."
    )


def test_what_the_data_cannot_tell_is_held() -> None:
    noisy = contender("als", np.random.default_rng(5).permutation(CHAMPION.values) + 0.005)
    verdict = against(noisy)
    assert (verdict.verb, verdict.winner) == ("hold", None)
    assert "may be luck" in verdict.sentences[1]


@pytest.mark.parametrize(("contenders", "first"), [(1, False), (5, False), (1, True)])
def test_equals_are_promoted_in_at_most_five_of_a_hundred(contenders: int, first: bool) -> None:
    """A/A: contenders as good as the reference; margin zero, which is the hardest case."""
    families = ["repurchase", "als", "sasrec", "itemknn", "twostage"][:contenders]
    quiet = dict.fromkeys([*families, "popularity"], 0.0)
    promoted = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        common = random.random(100)
        rows = [np.clip(common + random.normal(0, 0.2, 100), 0, 1) for _ in range(contenders + 1)]
        reference = contender("popularity", rows[0])
        rivals = [contender(family, row) for family, row in zip(families, rows[1:], strict=True)]
        asked = [reference, *rivals] if first else rivals
        verdict = decide(
            GATE, asked, None if first else reference, "popularity", quiet, seed=seed, resamples=1000
        )
        promoted += verdict.verb == "promote"
    assert promoted <= 10


def test_a_planted_lift_is_found_nearly_always() -> None:
    found = 0
    for seed in range(50):
        random = np.random.default_rng(seed)
        base = random.random(400)
        lifted = contender("als", base + 0.03 + random.normal(0, 0.1, 400))
        found += (
            decide(
                GATE, [lifted], contender("popularity", base), "popularity", QUIET, seed=seed, resamples=1000
            ).verb
            == "promote"
        )
    assert found >= 48


def test_the_interval_must_clear_the_margin_not_only_zero() -> None:
    lead = float((BETTER.values - CHAMPION.values).mean())
    assert against(BETTER, gate=replace(GATE, margin=lead / 2)).verb == "promote"
    assert against(BETTER, gate=replace(GATE, margin=lead)).verb == "hold"
    assert against(BETTER, gate=replace(GATE, margin=lead * 2)).verb == "reject"


def test_the_lead_must_clear_what_refits_differ_by() -> None:
    noise = {**QUIET, "repurchase": 0.2}
    verdict = decide(GATE, [BETTER], CHAMPION, "popularity", noise)
    assert verdict.verb == "reject"
    assert "the 0.2000 that refits with other seeds differ by" in verdict.sentences[1]
    assert verdict.comparisons[0].noise == 0.2


def test_the_noise_of_the_champion_counts_too() -> None:
    assert decide(GATE, [BETTER], CHAMPION, "popularity", {**QUIET, "popularity": 0.2}).verb == "reject"


@pytest.mark.parametrize("noise", [{}, {"repurchase": float("nan")}])
def test_a_family_whose_noise_is_unknown_is_held(noise: dict[str, float]) -> None:
    verdict = decide(GATE, [BETTER], CHAMPION, "popularity", noise)
    assert verdict.verb == "hold"
    assert "not refitted with other seeds" in verdict.comparisons[0].breaches[0]


@pytest.mark.parametrize(
    ("gate", "metrics", "clause"),
    [
        (
            {"guardrails": {"coverage@10": 0.9}},
            {"coverage@10": 0.1},
            "coverage@10 0.1 is below 90% of popularity's 0.2",
        ),
        ({"guardrails": {"novelty@10": 0.9}}, {}, "novelty@10 of repurchase was not measured"),
        (
            {"guardrails": {"coverage@10": 0.9}},
            {"coverage@10": float("nan")},
            "coverage@10 of repurchase was not measured",
        ),
        (
            {"guardrails": {"ndcg@10[new people]": 1.1}},
            {},
            "ndcg@10[new people] 0.1 is below 110% of popularity's 0.1 on 40 units, by 0.0100 (0.0100 to 0.0100)",
        ),
        ({"guardrails": {"ndcg@10[misspelt]": 0.9}}, {}, "ndcg@10[misspelt] of repurchase was not measured"),
        ({"floors": {"coverage@10": 0.3}}, {}, "coverage@10 0.2 is below the floor of 0.3"),
        (
            {"floors": {"ndcg@10[new people]": 0.5}},
            {},
            "ndcg@10[new people] 0.1 is below the floor of 0.5 on 40 units, by 0.4000 (0.4000 to 0.4000)",
        ),
        (
            {"ceilings": {"ndcg@10[new people]": 0.05}},
            {},
            "ndcg@10[new people] 0.1 is above the ceiling of 0.05 on 40 units, by 0.0500 (0.0500 to 0.0500)",
        ),
        ({"floors": {"recall@10": 0.1}}, {}, "recall@10 of repurchase was not measured"),
        ({"ceilings": {"score_ms": 4.0}}, {}, "score_ms 5 is above the ceiling of 4"),
        ({"ceilings": {"artefact_bytes": 1e5}}, {}, "artefact_bytes 1e+06 is above the ceiling of 1e+05"),
        (
            {"ceilings": {"popularity_ratio@10": 3.0}},
            {"popularity_ratio@10": 8.5},
            "popularity_ratio@10 8.5 is above the ceiling of 3",
        ),
    ],
)
def test_every_breach_blocks(gate: dict, metrics: dict[str, float], clause: str) -> None:
    better = replace(BETTER, metrics={**BETTER.metrics, **metrics})
    verdict = against(better, gate=replace(GATE, **gate))
    assert verdict.verb == "reject"
    assert verdict.comparisons[0].breaches == (clause,)
    assert clause in verdict.sentences[1]


GUARD = replace(GATE, guardrails={"ndcg@10[new people]": 0.95})


def guarded(own_U: np.ndarray, their_U: np.ndarray) -> Weighed:
    """Hold BETTER against the champion where these are their values on the slice, one per unit of it."""
    rows = [np.concatenate([row, np.full(400 - len(row), np.nan)]) for row in (own_U, their_U)]
    named = [{"ndcg@10[new people]": row} for row in rows]
    return against(replace(BETTER, parts=named[0]), gate=GUARD, champion=replace(CHAMPION, parts=named[1]))


def test_a_slice_blocks_on_evidence_and_not_on_a_noisy_value() -> None:
    """A tenth is lost either way; only where units agree is it more than luck."""
    their_U = scores(11, 60)
    noisy_U = np.random.default_rng(2).permutation(their_U) * 0.9
    assert noisy_U.mean() < 0.95 * their_U.mean()
    may_be_luck, is_none = guarded(noisy_U, their_U), guarded(their_U * 0.9, their_U)
    assert (may_be_luck.verb, may_be_luck.comparisons[0].breaches) == ("promote", ())
    assert "on 60 units, by" in may_be_luck.sentences[1] and "which may be luck" in may_be_luck.sentences[1]
    assert is_none.verb == "reject"
    assert "is below 95% of popularity's" in is_none.comparisons[0].breaches[0]


def test_a_slice_of_a_few_units_blocks_nobody_and_says_so() -> None:
    lost_U = np.zeros(29)
    verdict = guarded(lost_U, np.ones(29))
    assert (verdict.verb, verdict.comparisons[0].breaches) == ("promote", ())
    assert verdict.sentences[-2] == "Too few units to speak, the gate wants 30: ndcg@10[new people] (29)."
    assert guarded(np.zeros(30), np.ones(30)).verb == "reject"
    gate = replace(GATE, floors={"ndcg@10[a few people]": 0.5}, min_slice_units=29)
    assert against(BETTER, gate=gate).verb == "reject"
    assert against(BETTER, gate=replace(gate, min_slice_units=30)).verb == "promote"


def test_a_unit_without_a_value_does_not_leave_its_slice() -> None:
    """Else answering nothing to whom one answers badly would keep a guardrail."""
    own_U = np.full(60, 0.5)
    own_U[:7] = np.nan
    verdict = guarded(own_U, np.full(60, 0.5))
    assert verdict.verb == "reject"
    assert verdict.comparisons[0].breaches == (
        "ndcg@10[new people] of repurchase was not measured on 7 of 60 units",
    )


def test_all_breaches_are_named_at_once() -> None:
    gate = replace(GATE, floors={"coverage@10": 0.3}, ceilings={"score_ms": 1.0})
    assert len(against(BETTER, gate=gate).comparisons[0].breaches) == 2


def test_bounds_that_are_kept_and_slices_without_units_do_not_block() -> None:
    gate = replace(
        GATE,
        guardrails={"coverage@10": 1.0, "ndcg@10[new people]": 1.0, "ndcg@10[nobody]": 0.9},
        floors={"ndcg@10[nobody]": 0.5, "coverage@10": 0.2},
        ceilings={"score_ms": 5.0},
    )
    assert against(BETTER, gate=gate).verb == "promote"


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_a_value_that_is_no_number_never_promotes(odd: float) -> None:
    values = BETTER.values.copy()
    values[3] = odd
    verdict = against(replace(BETTER, values=values))
    assert (verdict.verb, verdict.winner) == ("reject", None)
    assert verdict.comparisons[0].breaches == ("1 of 400 units of repurchase have no finite value",)
    assert verdict.comparisons[0].difference is None


def test_a_champion_without_numbers_is_held_against_nobody() -> None:
    broken = replace(CHAMPION, values=np.full(400, np.nan))
    assert against(BETTER, champion=broken).verb == "hold"


def test_nothing_but_nan_still_gives_a_record() -> None:
    verdict = against(replace(BETTER, values=np.full(400, np.nan)))
    assert verdict.verb == "reject"
    assert b"null" in canonical.encode(verdict.comparisons)


@pytest.mark.parametrize("units", [0, 1, 99])
def test_too_few_units_never_promote(units: int) -> None:
    few = replace(BETTER, units=BETTER.units[:units], values=np.ones(units))
    champion = replace(CHAMPION, units=CHAMPION.units[:units], values=np.zeros(units))
    verdict = against(few, champion=champion)
    assert (verdict.verb, verdict.winner) == ("hold", None)


def test_enough_units_are_enough() -> None:
    few = replace(BETTER, units=BETTER.units[:100], values=np.ones(100))
    assert (
        against(few, champion=replace(CHAMPION, units=CHAMPION.units[:100], values=np.zeros(100))).verb
        == "promote"
    )


def test_units_of_somebody_else_never_promote() -> None:
    others = replace(BETTER, units=BETTER.units + 1)
    assert against(others).verb == "hold"
    assert "not measured on the same units" in against(others).sentences[1]


def test_no_contender_is_held() -> None:
    assert decide(GATE, [], CHAMPION, "popularity", QUIET) == (
        "hold",
        None,
        (),
        ("No contender was evaluated, so nothing can be promoted.",),
    )


def test_of_several_that_pass_the_best_mean_wins() -> None:
    best = contender("als", BETTER.values + 0.01)
    verdict = decide(GATE, [BETTER, best], CHAMPION, "popularity", QUIET)
    assert verdict.winner == "evaluation-als"
    assert verdict.sentences[-1] == "Promote als, the best of 2 that pass."


def test_a_better_one_that_breaks_a_rule_leaves_the_prize_to_the_next() -> None:
    greedy = contender("als", BETTER.values + 0.01, **{"coverage@10": 0.001})
    gate = replace(GATE, guardrails={"coverage@10": 0.5})
    assert decide(gate, [greedy, BETTER], CHAMPION, "popularity", QUIET).winner == "evaluation-repurchase"


def test_equals_that_pass_go_to_the_first_id_whatever_the_order() -> None:
    twin = contender("als", BETTER.values)
    for pair in ([BETTER, twin], [twin, BETTER]):
        assert decide(GATE, pair, CHAMPION, "popularity", QUIET).winner == "evaluation-als"


def width(rivals: list[np.ndarray]) -> float:
    """Return how wide the interval of BETTER's lead is among these rivals."""
    crowd = [BETTER, *(replace(contender("als", row), id=f"evaluation-{n}") for n, row in enumerate(rivals))]
    among = decide(GATE, crowd, CHAMPION, "popularity", QUIET).comparisons[0]
    return among.difference_high - among.difference_low


def test_trying_many_contenders_widens_the_intervals() -> None:
    """By as much as nine more independent chances need, 2.80 standard errors for 1.96, and not at all for the same one again."""
    random = np.random.default_rng(3)
    equals = [CHAMPION.values + random.normal(0, 0.1, 400) for _ in range(9)]
    assert width(equals) / width([]) == pytest.approx(2.80 / 1.96, rel=0.05)
    assert width([BETTER.values] * 9) == pytest.approx(width([]), rel=1e-9)


def test_contenders_that_are_clearly_worse_take_nothing_from_the_others() -> None:
    random = np.random.default_rng(3)
    worse = [CHAMPION.values - 0.05 + random.normal(0, 0.1, 400) for _ in range(9)]
    assert width(worse) == pytest.approx(width([]), rel=1e-9)


def test_the_same_numbers_give_the_same_verdict() -> None:
    assert canonical.encode(against(BETTER)) == canonical.encode(against(BETTER))


def test_a_missing_baseline_is_named() -> None:
    with pytest.raises(InputError, match="the baseline 'popularity' is not among the contenders repurchase"):
        decide(GATE, [BETTER], None, "popularity", QUIET)


def test_an_evaluation_given_twice_is_refused() -> None:
    with pytest.raises(InputError, match="same evaluation id"):
        decide(GATE, [BETTER, BETTER], CHAMPION, "popularity", QUIET)


def test_noise_is_the_range_over_seeds() -> None:
    fits = [("als", 0.25), ("repurchase", 0.41), ("als", 0.26), ("als", 0.255), ("sasrec", 0.3)]
    found = noise_of(fits, {"als": True, "repurchase": False, "sasrec": True})
    assert found == {"als": pytest.approx(0.01), "repurchase": 0.0}


def test_noise_asks_the_registry_which_family_a_seed_can_change() -> None:
    assert noise_of([("repurchase", 0.4), ("als", 0.3)]) == {"repurchase": 0.0}


def test_intervals_agree_with_the_normal_ones_where_those_hold() -> None:
    random = np.random.default_rng(0)
    rows = np.stack([random.normal(1.0, 2.0, 5000), random.normal(-3.0, 0.1, 5000)])
    half = 1.959964 * rows.std(axis=1) / np.sqrt(5000)
    found = intervals(rows, 0.95, seed=1, resamples=4000)
    np.testing.assert_allclose(found[:, 0], rows.mean(axis=1) - half, atol=0.004)
    np.testing.assert_allclose(found[:, 1], rows.mean(axis=1) + half, atol=0.004)


def test_resampling_in_parts_covers_every_resample() -> None:
    values = np.random.default_rng(0).random((1, 30_000))
    low, high = intervals(values, 0.95, seed=0, resamples=300)[0]
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(30_000), rel=0.25)
