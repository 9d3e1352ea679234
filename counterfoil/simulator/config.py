"""What a simulated shop is told: sizes, dates, drift, faults. No numbers of behaviour: those lie in `behaviour.py`."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from counterfoil.errors import InputError
from counterfoil.simulator.fault import FAULTS

START = datetime(2025, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class ShopConfig:
    """A shop to simulate. `events` is an approximate target; days count from 0 at `start` (midnight, UTC).

    `drift_day` None plants no drift; `drift_strength` runs from 0 (nothing shifts) to 1 (tastes are drawn anew).
    `fault_day` puts every fault on one day; None gives each fault a day of its own, drawn by the seed.
    Raises InputError naming every value that cannot be.
    """

    seed: int = 0
    people: int = 1_000
    items: int = 1_000
    days: int = 90
    events: int = 200_000
    start: datetime = START
    drift_day: int | None = None
    drift_strength: float = 0.8
    cold_item_share: float = 0.1
    cold_person_share: float = 0.2
    list_length: int = 10
    examination_power: float = 0.8
    tastes: int = 8
    faults: tuple[str, ...] = ()
    fault_rows: int = 20
    fault_day: int | None = None

    def __post_init__(self) -> None:
        wrong = list(_wrong(self))
        if wrong:
            raise InputError(f"this shop cannot be simulated: {'; '.join(wrong)}; mend these values")

    @classmethod
    def sized(cls, events: int, **changes: Any) -> "ShopConfig":
        """Return a shop whose people, items and days suit that many events; `changes` are fields set by hand."""
        people = min(max(events // 200, 100), 1_000_000)
        items = min(max(int(5 * events**0.5), 300), 100_000)
        days = 90 if events < 1_000_000 else 365
        return replace(cls(events=events, people=people, items=items, days=days), **changes)

    @property
    def examination(self) -> tuple[float, ...]:
        """Probability that a person looks at a position, first to last: 1 / position ** examination_power."""
        return tuple(position**-self.examination_power for position in range(1, self.list_length + 1))

    def day_start(self, day: int) -> datetime:
        """Return the midnight with which that day begins."""
        return self.start + timedelta(days=day)

    def day_of(self, moment: datetime) -> int:
        """Return the day that holds this moment; days before the start are below zero."""
        return (moment - self.start) // timedelta(days=1)


def _wrong(config: ShopConfig) -> list[str]:
    """Return one sentence for each value that cannot be."""
    ranges: dict[str, tuple[float, float]] = {
        "seed": (0, 2**63 - 1),
        "people": (10, 50_000_000),
        "items": (20, 5_000_000),
        "days": (1, 3650),
        "events": (100, 1_000_000_000),
        "drift_strength": (0, 1),
        "cold_item_share": (0, 0.9),
        "cold_person_share": (0, 0.9),
        "list_length": (1, 100),
        "examination_power": (0, 5),
        "tastes": (2, 8),
        "fault_rows": (1, 10_000),
    }
    wrong = [
        f"{name} is {getattr(config, name)} but must be {low:g} to {high:g}"
        for name, (low, high) in ranges.items()
        if not low <= getattr(config, name) <= high
    ]
    for name in ("drift_day", "fault_day"):
        day = getattr(config, name)
        if day is not None and not 0 <= day < config.days:
            wrong.append(f"{name} is {day} but there are days 0 to {config.days - 1}")
    return wrong + _wrong_start(config) + _wrong_faults(config)


def _wrong_start(config: ShopConfig) -> list[str]:
    start = config.start
    if start.utcoffset() != timedelta(0) or (start.hour, start.minute, start.second, start.microsecond) != (
        0,
        0,
        0,
        0,
    ):
        return [f"start is {start} but must be a midnight in UTC"]
    if not 1991 <= start.year <= 2080:
        return [f"start is {start:%Y-%m-%d} but must lie in 1991 to 2080"]
    return []


def _wrong_faults(config: ShopConfig) -> list[str]:
    wrong = [
        f"fault {name!r} is unknown, there are {', '.join(FAULTS)}"
        for name in config.faults
        if name not in FAULTS
    ]
    if len(set(config.faults)) < len(config.faults):
        wrong.append("a fault is named twice")
    whole = [name for name in config.faults if name in FAULTS and FAULTS[name].whole_day]
    if config.fault_day is not None and whole and len(config.faults) > 1:
        wrong.append(
            f"fault {whole[0]!r} changes a whole day and must stand on it alone: leave fault_day out"
        )
    if len(whole) >= max(config.days - 1, 2):
        wrong.append(
            f"{len(whole)} faults of whole days ({', '.join(whole)}) need more than {config.days} days"
        )
    return wrong
