"""`counterfoil bench models`: registered families on any data, by the protocols of published figures.

sets.py lands the data and cuts it, measure.py fits and asks one family in a process of its own, compare.py runs them all,
rolling.py at several cuts.
"""

from flows.benchmark.compare import Benchmark, run, show
from flows.benchmark.rolling import roll
from flows.benchmark.rolling import show as show_rolled

__all__ = ["Benchmark", "roll", "run", "show", "show_rolled"]
