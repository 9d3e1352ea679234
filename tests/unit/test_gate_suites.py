"""The suites follow the contracts: every field is held against its declared type, bounds, values and presence."""

import numpy as np
import pytest

from counterfoil.contracts import EVENT, Contract, Field
from counterfoil.errors import ConfigError
from flows.gate.day_suite import day_rules, day_suite
from flows.gate.policy import Policy
from flows.gate.rules import row_rules
from flows.gate.shift import js_bits, psi
from flows.gate.snapshot_suite import snapshot_suite
from flows.gate.suite import Suite


def names(suite: Suite) -> set[tuple[str | None, str]]:
    return {(e.column, e.name) for e in suite.expectations}


def test_every_field_of_the_contract_has_its_expectations() -> None:
    found = names(day_suite(Policy(), day_rules(clocked=False)))
    for field in EVENT.fields:
        assert {(field.name, "present"), (field.name, "typed")} <= found
        assert ((field.name, "not_null") in found) == field.required
        assert ((field.name, "required_for_kind") in found) == bool(field.required_for)
        assert ((field.name, "in_set") in found) == bool(field.values)
        assert ((field.name, "in_bounds") in found) == (
            field.minimum is not None or field.maximum is not None
        )
        assert ((field.name, "finite") in found) == (field.type == "float")
        assert ((field.name, "length_within") in found) == (field.type == "text" and not field.values)


def test_a_new_line_in_a_contract_is_a_new_rule() -> None:
    weight = Field(name="weight", type="float", says="kilograms", required=True, minimum=0, maximum=10)
    rules = row_rules(Contract(name="parcel", key="id", fields=(weight,)))
    assert [(r.name, r.predicate) for r in rules] == [
        ("not_null", "weight IS NULL"),
        ("finite", "NOT isfinite(weight)"),
        ("in_bounds", "isfinite(weight) AND (weight < 0.0 OR weight > 10.0)"),
    ]


def test_no_metric_is_judged_by_two_expectations_of_one_severity() -> None:
    for suite in (day_suite(Policy(), day_rules(clocked=True)), snapshot_suite(Policy(), compared=True)):
        keys = [(e.metric, e.severity) for e in suite.expectations]
        assert len(set(keys)) == len(keys)


def test_the_identity_counts_and_follows_the_policy() -> None:
    suite = day_suite(Policy(), day_rules(clocked=False))
    assert suite.identity.startswith(f"event-day#{len(suite.expectations)}@")
    assert suite.identity == day_suite(Policy(), day_rules(clocked=False)).identity
    assert suite.identity != day_suite(Policy(js_critical=0.5), day_rules(clocked=False)).identity
    first, later = snapshot_suite(Policy(), compared=False), snapshot_suite(Policy(), compared=True)
    assert names(first) < names(later)


def test_a_policy_that_would_let_anything_pass_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"volume_critical=\(5.0, 0.1\) is upside down"):
        Policy(volume_critical=(5.0, 0.1))
    with pytest.raises(ConfigError, match="below 1"):
        Policy(rows_floor=0)


def test_jensen_shannon_of_known_distributions() -> None:
    same, other = np.array([10.0, 30.0]), np.array([1.0, 3.0])
    assert js_bits(same, other) == 0.0
    assert js_bits(np.array([5.0, 0.0]), np.array([0.0, 7.0])) == 1.0
    # p = (1/2, 1/2), q = (1, 0): H(3/4, 1/4) - H(p) / 2 = 0.8112781 - 0.5
    assert js_bits(np.array([1.0, 1.0]), np.array([1.0, 0.0])) == pytest.approx(0.3112781, abs=1e-7)
    assert js_bits(np.zeros(2), np.array([1.0, 0.0])) == 1.0
    assert js_bits(np.zeros(2), np.zeros(2)) == 0.0


def test_population_stability_index_of_known_distributions() -> None:
    # (0.5 - 0.25) ln 2 + (0.5 - 0.75) ln(2/3), with half a count in each bin of a million
    one, other = np.array([5e5, 5e5]), np.array([2.5e5, 7.5e5])
    assert psi(one, other) == pytest.approx(0.2746531, abs=1e-5)
    assert psi(one, one) == 0.0
    assert psi(np.zeros(2), one) == psi(one, np.zeros(2)) == 10.0
    assert np.isfinite(psi(np.array([1e9, 0.0]), np.array([0.0, 1e9])))
