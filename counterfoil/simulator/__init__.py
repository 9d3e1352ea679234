"""A shop with planted truths, for tests and trials: its past as files, its truth beside them, its people live.

`simulate` writes the past, `Truth` tells what a perfect model would know, `live` lets people answer what a service shows.
"""

from counterfoil.simulator.config import ShopConfig
from counterfoil.simulator.fault import FAULTS
from counterfoil.simulator.live import LiveShop, Shown, answer, live
from counterfoil.simulator.saboteur import Fault
from counterfoil.simulator.shop import Simulated, simulate
from counterfoil.simulator.truth import Truth

__all__ = [
    "FAULTS",
    "Fault",
    "LiveShop",
    "ShopConfig",
    "Shown",
    "Simulated",
    "Truth",
    "answer",
    "live",
    "simulate",
]
