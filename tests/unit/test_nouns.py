"""Nouns as bytes: each comes back as it was, and what is no noun is refused."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterfoil import canonical
from counterfoil.catalog import codec
from counterfoil.errors import IntegrityError
from counterfoil.types import (
    Approval,
    Attempt,
    Bento,
    Candidate,
    Check,
    Comparison,
    Dataset,
    Decision,
    Erasure,
    Evaluation,
    Noun,
    OnlineRows,
    Quarantine,
    Release,
    Setting,
    Verdict,
)
from tests.some_nouns import bento, verdict

words = st.text(max_size=12)
names = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=12)
numbers = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(0, 2**53)
ids = st.lists(names, max_size=3).map(tuple)
texts = st.lists(words, max_size=3).map(tuple)
moments = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
metrics = st.dictionaries(names, numbers, max_size=3)


def maybe(strategy: st.SearchStrategy) -> st.SearchStrategy:
    return st.none() | strategy


checks = st.builds(
    Check,
    expectation=names,
    column=maybe(words),
    severity=st.sampled_from(["critical", "warning"]),
    success=st.booleans(),
    errored=st.booleans(),
    observed=maybe(words),
    expected=maybe(words),
    unexpected_count=counts,
    samples=texts,
)
comparisons = st.builds(
    Comparison,
    evaluation=names,
    family=names,
    value=numbers,
    low=numbers,
    high=numbers,
    difference=maybe(numbers),
    difference_low=maybe(numbers),
    difference_high=maybe(numbers),
    noise=maybe(numbers),
    breaches=texts,
)
recipe = st.dictionaries(
    names,
    st.none() | st.booleans() | counts | numbers | words | st.lists(counts, max_size=2),
    max_size=3,
)
plain = {"code_version": names, "use_case": names}
NOUNS: dict[str, st.SearchStrategy] = {
    "verdict": st.builds(
        Verdict,
        subject=words,
        sha256=names,
        rows=counts,
        passed=st.booleans(),
        checks=st.lists(checks, max_size=3).map(tuple),
        suite=words,
        faulted=st.booleans(),
    ),
    "dataset": st.builds(
        Dataset,
        **plain,
        address=names,
        sha256=names,
        as_of=moments,
        holdout_from=moments,
        rows=counts,
        people=counts,
        items=counts,
        first_time=moments,
        last_time=moments,
        feature_service=names,
        verdicts=ids,
        seconds=numbers,
    ),
    "attempt": st.builds(
        Attempt,
        **plain,
        dataset=names,
        family=names,
        study=names,
        number=counts,
        config=recipe,
        seed=counts,
        metric=names,
        state=st.sampled_from(["complete", "pruned", "failed"]),
        value=maybe(numbers),
        first=maybe(numbers),
        bar=maybe(numbers),
        reason=words,
        seconds=numbers,
    ),
    "candidate": st.builds(
        Candidate,
        **plain,
        family=names,
        config=recipe,
        seed=counts,
        dataset=names,
        address=names,
        sha256=names,
        fit_seconds=numbers,
        peak_bytes=counts,
        artefact_bytes=counts,
    ),
    "evaluation": st.builds(
        Evaluation,
        **plain,
        candidate=names,
        family=names,
        seed=counts,
        dataset=names,
        address=names,
        sha256=names,
        units=counts,
        metrics=metrics,
        slices=st.dictionaries(names, metrics, max_size=2),
        cost=metrics,
    ),
    "decision": st.builds(
        Decision,
        **plain,
        dataset=names,
        verb=st.sampled_from(["promote", "hold", "reject"]),
        winner=maybe(names),
        champion=maybe(names),
        evaluations=ids,
        comparisons=st.lists(comparisons, max_size=2).map(tuple),
        sentences=texts,
        gate=names,
        approved_by=words,
    ),
    "bento": st.builds(
        Bento, **plain, candidate=names, dataset=names, tag=words, sha256=names, feature_service=names
    ),
    "online": st.builds(
        OnlineRows,
        use_case=names,
        dataset=names,
        as_of=moments,
        feature_service=names,
        sha256=names,
        rows=counts,
    ),
    "release": st.builds(
        Release,
        use_case=names,
        decision=names,
        bento=names,
        tag=words,
        epoch=counts,
        stage=st.sampled_from(["shadow", "canary", "champion", "retired"]),
        share=st.floats(0, 1),
        valid_from=moments,
        valid_to=maybe(moments),
    ),
    "approval": st.builds(Approval, use_case=names, decision=names, by=words, at=moments, note=words),
    "quarantine": st.builds(
        Quarantine, subject=words, nouns=ids, reason=words, by=words, at=moments, lifts=maybe(names)
    ),
    "setting": st.builds(Setting, values=st.dictionaries(names, words, max_size=3), at=moments),
    "erasure": st.builds(
        Erasure,
        person=names,
        at=moments,
        by=words,
        removed=st.dictionaries(names, counts, max_size=3),
        stored=ids,
        learned=ids,
        remains=texts,
        sha256=names,
    ),
}


def test_every_kind_is_tried() -> None:
    assert NOUNS.keys() == codec.NOUNS.keys()


@pytest.mark.parametrize("kind", NOUNS)
def test_a_noun_comes_back_as_it_was(kind: str) -> None:
    @settings(max_examples=60, deadline=None)
    @given(NOUNS[kind])
    def comes_back(noun: Noun) -> None:
        again = codec.decode(kind, canonical.encode(noun))
        assert again == noun and type(again) is type(noun)
        assert again.id == noun.id
        assert canonical.encode(again) == canonical.encode(noun)

    comes_back()


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"null",
        b"{",
        b'{"subject": "x"}',
        b'{"subject": "x", "sha256": "", "rows": 1, "passed": true, "checks": 5, "suite": ""}',
        canonical.encode({**canonical.plain(verdict()), "ghost": 1}),
    ],
)
def test_a_body_that_does_not_fit_is_refused(body: bytes) -> None:
    with pytest.raises(IntegrityError):
        codec.decode("verdict", body)


def test_an_unknown_kind_says_to_upgrade() -> None:
    with pytest.raises(IntegrityError, match="upgrade Counterfoil"):
        codec.decode("horoscope", b"{}")


def test_what_is_aside_does_not_name() -> None:
    assert bento().id == replace(bento(), code_version="another").id
    assert bento().id != replace(bento(), tag="shop:2").id
