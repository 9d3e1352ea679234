"""How strict the gate is: one frozen value of thresholds, sensible for a shop that trades daily. Nothing is measured here."""

from dataclasses import dataclass

from counterfoil.errors import ConfigError

Bounds = tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """Thresholds of the gate. Ratios are today's value over the median of the days before; bounds are inclusive.

    Comparisons with the days before speak only when `history_least_days` of the last `history_days` are there and both
    sides have `shape_least_rows` rows: below that a ratio is noise. `js_*` bound the Jensen-Shannon divergence
    in bits (0 same, 1 disjoint), `psi_*` the population stability index (0.1 slight, 0.25 large by custom). `traced` people and
    items per moment have their features computed anew.
    """

    rows_floor: int = 1
    snapshot_rows_floor: int = 100
    history_days: int = 28
    history_least_days: int = 7
    shape_least_rows: int = 100
    volume_warning: Bounds = (0.4, 2.5)
    volume_critical: Bounds = (0.1, 5.0)
    level_warning: Bounds = (0.5, 2.0)
    level_critical: Bounds = (0.2, 5.0)
    filled_warning: float = 0.5
    filled_critical: float = 0.05
    items_known_warning: float = 1.0
    items_known_critical: float = 0.98
    js_warning: float = 0.1
    js_critical: float = 0.3
    psi_warning: float = 0.1
    psi_critical: float = 0.25
    freshness_days: float = 3.0
    gap_days: float = 3.0
    recent_days: int = 28
    reference_share: float = 0.8
    samples: int = 5
    traced: int = 60
    chunk_rows: int = 400_000
    threads: int = 2

    def __post_init__(self) -> None:
        faults = [
            f"{name}={low_high} is upside down"
            for name, low_high in (
                ("volume_warning", self.volume_warning),
                ("volume_critical", self.volume_critical),
                ("level_warning", self.level_warning),
                ("level_critical", self.level_critical),
            )
            if not low_high[0] < low_high[1]
        ]
        if self.rows_floor < 1 or self.snapshot_rows_floor < 1:
            faults.append("a floor of rows is below 1, which would let empty data pass")
        if self.traced < 1:
            faults.append("traced is below 1, so no feature would be held against the past")
        if faults:
            raise ConfigError(f"the gate's policy is wrong: {'; '.join(faults)}; mend it")
