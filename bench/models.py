"""`make bench-models`: our families beside other people's libraries on public sets, one split for all, scored by their lists.

    python -m bench.models --data FOLDER --peers PYTHON [--sets a,b] [--seeds N] [--families a,b] [--libraries a,b]
                           [--minutes M]

`--peers` is the Python of an environment with bench/peers/requirements.lock; without it only ours are measured. Some peers learn
for hours: each is stopped after `--minutes`, 30 by default. Prints a table per set, and writes one JSON file below
bench/results, anew after each set.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy import stats

from bench import report
from bench.sets import PEERS, SETS, Set
from counterfoil import settings, terminal
from counterfoil.errors import CounterfoilError, InputError
from counterfoil.terminal import Stages
from flows.benchmark import Benchmark, run, show
from flows.benchmark.compare import LEAN
from flows.benchmark.sets import Named, prepare, read
from models.metrics.accuracy import hits, ndcg, recall, taken

PEER = Path(__file__).resolve().parent / "peers" / "fit.py"
K = 10


def main() -> int:
    """Measure the sets that were asked for; 0 when all could be measured."""
    asked = _arguments()
    settings.load()
    found: dict[str, Any] = {}
    path = None
    try:
        with terminal.stages() as stages:
            for name in asked.sets:
                found[name] = _measured(SETS[name], asked, stages)
                path = report.write({"sets": found}, "models-", path)  # all sets together take over an hour
    except CounterfoilError as fault:
        sys.stderr.write(f"{fault}\n")
        return fault.exit_code
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of public sets")
    parser.add_argument("--peers", type=Path, help="Python of the peers' environment")
    parser.add_argument("--sets", type=_names, default=list(SETS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--families", type=_names, help="ours, instead of those of each set")
    parser.add_argument("--libraries", type=_names, help="the peers, instead of those of each set")
    parser.add_argument("--minutes", type=float, default=30.0, help="after which a peer is stopped")
    asked = parser.parse_args()
    if unknown := [name for name in asked.sets if name not in SETS]:
        parser.error(f"no set is called {unknown[0]!r}; there are {', '.join(SETS)}")
    if unknown := [name for name in asked.libraries or () if name not in PEERS]:
        parser.error(f"no peer is called {unknown[0]!r}; there are {', '.join(PEERS)}")
    return asked


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _measured(of: Set, asked: argparse.Namespace, stages: Stages) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="counterfoil-peers-") as folder:
        terms = of.terms(asked.data, Path(folder))
        lists = Path(folder) / "lists.parquet"
        ours = run(
            Benchmark(
                terms=terms,
                families=asked.families or of.families,
                seeds=asked.seeds,
                lists=lists,
                configs=of.configs,
            ),
            stages,
        )
        show(ours)
        peers = (asked.libraries or of.peers) if of.peers else ()  # where lists may repeat, they have none
        if not peers or asked.peers is None:
            return {"ours": ours, "peers": []}
        home = settings.load().model_copy(update={"home": Path(folder) / "home"})
        home.home.mkdir()
        prepare(terms, home, stages.advance)
        named = read(home)
        best = _values_of_ours(pq.read_table(lists), ours["best"], named)
        theirs = [_peer(name, named, asked, Path(folder), best, stages) for name in peers]
    _show_peers(theirs, ours["best"])
    return {"ours": ours, "peers": theirs}


def _peer(
    name: str, named: Named, asked: argparse.Namespace, folder: Path, best_P: np.ndarray, stages: Stages
) -> dict[str, Any]:
    """Fit and ask one peer in a process of its own, and score its lists as ours are scored.

    Who fails, or has not ended after the minutes given, is named with the reason.
    """
    out = folder / name
    out.mkdir()
    write_split(named, out)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        with stages.stage("measure", name):
            done = subprocess.run(
                [str(asked.peers.absolute()), str(PEER), name, str(out)],
                cwd=out,  # some write logs to wherever they run
                env=os.environ
                | LEAN
                | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
                capture_output=True,
                text=True,
                check=False,
                timeout=60 * asked.minutes,
            )
    except subprocess.TimeoutExpired:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)  # of nobody else: one process runs at a time
        seconds = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
        failed = f"stopped after {asked.minutes:g} minutes and {seconds:.0f} CPU s; --minutes gives more"
        return {"peer": name, "failed": failed, "cpu_seconds_at_least": seconds}
    if done.returncode or not (out / "cost.json").is_file():
        return {"peer": name, "failed": (done.stderr.strip().splitlines() or ["it said nothing"])[-1]}
    item_PK = _lists(pq.read_table(out / "lists.parquet"), len(best_P))
    value_P, recall_P = _scored(item_PK, named)
    lead_P = best_P - value_P
    return {
        "peer": name,
        **json.loads((out / "cost.json").read_text()),
        f"ndcg@{K}": float(value_P.mean()),
        f"recall@{K}": float(recall_P.mean()),
        "standard_error": float(value_P.std(ddof=1) / np.sqrt(len(value_P))),
        "lead_of_our_best": float(lead_P.mean()),
        "p": float(stats.ttest_1samp(lead_P, 0.0).pvalue) if lead_P.std() else 1.0,
    }


def write_split(named: Named, folder: Path) -> None:
    """Write what may be learned, what is known of those who are asked, and who is asked, all by number. InputError with repeats.

    A step is a second, in the order of time within a person, so that libraries that want times have some.
    """
    training, query = named.split.training, named.split.trial.query
    if query.exclude is None:
        raise InputError("peers are asked for what people have not had; measure with --no-repeats")
    known = query.history
    person_N = np.asarray(named.split.unit_P)[known.person_N]
    for name, one, persons in (
        ("learned", training.interactions, training.interactions.person_N),
        ("known", known, person_N),
    ):
        columns = {"person": persons.astype(np.int64), "item": one.item_N.astype(np.int64)}
        pq.write_table(pa.table({**columns, "step": np.arange(len(one))}), folder / f"{name}.parquet")
    pq.write_table(pa.table({"person": np.asarray(named.split.unit_P)}), folder / "asked.parquet")


def _values_of_ours(lists: pa.Table, family: str, named: Named) -> np.ndarray:
    """Return nDCG of one of ours per unit, from its written lists, the mean of the seeds."""
    row = {unit: place for place, unit in enumerate(np.asarray(named.unit_ids).tolist())}
    item = {name: place for place, name in enumerate(np.asarray(named.item_ids).tolist())}
    own = lists.filter(pc.equal(lists["family"], family)).to_pydict()
    seeds = sorted(set(own["seed"]))
    found = {seed: np.full((len(row), K), -1, np.int64) for seed in seeds}
    for unit, rank, name, seed in zip(own["unit"], own["rank"], own["item"], own["seed"], strict=True):
        if rank <= K:
            found[seed][row[unit], rank - 1] = item[name]
    return np.mean([_scored(found[seed], named)[0] for seed in seeds], axis=0)


def _lists(table: pa.Table, rows: int) -> np.ndarray:
    item_PK = np.full((rows, K), -1, np.int64)
    row_M, rank_M = table["row"].to_numpy(), table["rank"].to_numpy()
    item_PK[row_M, rank_M - 1] = table["item"].to_numpy()
    return item_PK


def _scored(item_PK: np.ndarray, named: Named) -> tuple[np.ndarray, np.ndarray]:
    truth = named.split.trial.truth
    hit_PK, taken_P = hits(item_PK, truth), taken(truth)
    return ndcg(hit_PK, taken_P, K), recall(hit_PK, taken_P, K)


def _show_peers(peers: list[Mapping[str, Any]], best: str) -> None:
    rows = [
        [
            one["peer"],
            one[f"ndcg@{K}"],
            one[f"recall@{K}"],
            one["standard_error"],
            round(one["fit_cpu_seconds"], 1),
            round(one["peak_bytes"] / 1e6),
            one["lead_of_our_best"],
            one["p"],
        ]
        for one in peers
        if "failed" not in one
    ]
    columns = [
        "peer",
        f"ndcg@{K}",
        f"recall@{K}",
        "se",
        "fit CPU s",
        "peak MB",
        f"lead of {best}",
        "p",
    ]
    terminal.table("Peers on the same split", columns, rows)
    for one in peers:
        if "failed" in one:
            terminal.OUT.print(f"{one['peer']} failed: {one['failed']}", highlight=False, markup=False)


if __name__ == "__main__":
    sys.exit(main())
