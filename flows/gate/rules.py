"""What every row must keep, derived from a contract's field table: one SQL predicate per rule, true for a row that breaks it."""

from collections.abc import Iterator
from datetime import datetime

from counterfoil.contracts import Contract, Field
from flows.gate.suite import Expectation

# White space of ASCII: tab to carriage return, and the space. All sort before '!'.
BLANKS = "' ' || chr(9) || chr(10) || chr(11) || chr(12) || chr(13)"


def quoted(text: str) -> str:
    """Return `text` as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def literal(value: float | datetime) -> str:
    """Return a bound as an SQL literal."""
    return f"TIMESTAMPTZ '{value.isoformat()}'" if isinstance(value, datetime) else repr(float(value))


def row_rules(contract: Contract) -> tuple[Expectation, ...]:
    """Return the row expectations of a contract: each says that no row breaks its predicate."""
    return tuple(rule for field in contract.fields for rule in _field_rules(field))


def row_rule(name: str, column: str, predicate: str, says: str) -> Expectation:
    """Return the expectation that no row makes `predicate` true."""
    metric = f"{column}.{name}"
    return Expectation(
        name=name, column=column, metric=metric, says=says, minimum=0.0, maximum=0.0, predicate=predicate, counts=metric
    )  # fmt: skip


def not_in_future() -> Expectation:
    """Return the rule that no event is later than the moment of validation, which lies in table `moment`."""
    return row_rule(
        "not_in_future", "time", "time > (SELECT now FROM moment)", "not after the moment of validation"
    )


def _field_rules(field: Field) -> Iterator[Expectation]:
    yield from _presence(field)
    if field.values:
        values = ", ".join(quoted(value) for value in field.values)
        yield row_rule(
            "in_set",
            field.name,
            f"{field.name} NOT IN ({values})",
            f"one of the contract's {len(field.values)} values",
        )
    if field.type == "text" and not field.values:
        # Bytes bound characters from above and cost nothing to count; so most values need no second look.
        name, most = field.name, field.max_length
        longer = f"CASE WHEN strlen({name}) > {most} THEN length({name}) > {most} ELSE false END"
        yield row_rule("length_within", name, longer, f"at most {most} characters")
    if field.type == "float":
        yield row_rule("finite", field.name, f"NOT isfinite({field.name})", "no NaN and no infinity")
    yield from _bounds(field)


def _presence(field: Field) -> Iterator[Expectation]:
    name = field.name
    if field.required:
        yield row_rule("not_null", name, f"{name} IS NULL", "no row without it")
    if field.required_for:
        kinds = ", ".join(quoted(kind) for kind in field.required_for)
        predicate = f"{name} IS NULL AND kind IN ({kinds})"
        yield row_rule("required_for_kind", name, predicate, f"no row without it when the kind is {kinds}")
    if (field.required or field.required_for) and field.type == "text" and not field.values:
        blank = f"CASE WHEN {name} < '!' THEN trim({name}, {BLANKS}) = '' ELSE false END"
        yield row_rule("not_blank", name, blank, "no row with empty text")


def _bounds(field: Field) -> Iterator[Expectation]:
    low, high = field.minimum, field.maximum
    sides = [f"{field.name} < {literal(low)}"] if low is not None else []
    sides += [f"{field.name} > {literal(high)}"] if high is not None else []
    if not sides:
        return
    outside = " OR ".join(sides)
    # Infinities are `finite`'s finding: a value is reported once.
    guarded = f"isfinite({field.name}) AND ({outside})" if field.type == "float" else outside
    yield row_rule("in_bounds", field.name, guarded, f"from {low} to {high}")
