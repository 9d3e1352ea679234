"""`counterfoil bench models`: registered families on any data, by the protocols of published figures.

sets.py lands the data and cuts it, measure.py fits and asks one family in a process of its own, compare.py runs them all.
"""

from flows.benchmark.compare import Benchmark, run, show

__all__ = ["Benchmark", "run", "show"]
