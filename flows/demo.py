"""The demonstration: the whole loop on The Complete Journey, then one answer over HTTP, its receipt, its lineage, the proof."""

import time
from datetime import datetime
from typing import Any

import httpx
import orjson

from bentos import inner
from counterfoil import canonical, terminal
from counterfoil.errors import UnavailableError
from counterfoil.landing import read_manifest
from counterfoil.processes import Processes
from counterfoil.terminal import Stages
from counterfoil.types import Dataset, Release
from flows import commands, intake, machine
from flows.gate import warm
from flows.place import Place, open_place

USE_CASE = "recommendation"
HOUSEHOLD = "1"  # a household of the data set, as the shop names it
SOURCE = {"kind": "complete-journey"}


def demo(stages: Stages) -> dict[str, Any]:
    """Run it all; what was done before is skipped. The service that was not running before is stopped again at the end."""
    started = time.perf_counter()
    place = open_place()
    if not read_manifest(place.settings).days:
        warm()  # what lands is validated next
    landed = intake.import_data(SOURCE["kind"], None, None, stages)
    turned = commands.run(USE_CASE, None, stages)
    release = place.catalog.champion(USE_CASE)
    if release is None:
        raise UnavailableError(
            "nothing was promoted, so nothing can answer: " + " ".join(turned["decision"]["sentences"])
        )
    asked = {"person": HOUSEHOLD, "n": 10, "context": {"time": canonical.utc_text(_present(place, release))}}
    answer = _ask(place, release, asked, stages)
    with stages.stage("receipt", answer["receipt"]):
        stub = commands.receipt(answer["receipt"])
        lineage = commands.lineage(answer["receipt"])
    verified = commands.verify(stages)
    return {
        **turned,
        "release": release.id,
        "landed": landed,
        "answer": answer,
        "ask_again": question(f"http://127.0.0.1:{place.settings.gateway_port}", asked),
        "receipt": stub.id,
        "stub": stub,
        "lineage": lineage,
        "verified": verified["verified"],
        "verification": verified,
        "stages": stages.seconds,
        "seconds": round(time.perf_counter() - started, 1),
    }


def _ask(place: Place, release: Release, asked: dict[str, Any], stages: Stages) -> dict[str, Any]:
    """Ask the service; one that was not running before is stopped again."""
    processes = Processes(place.settings.home)
    before = processes.running()
    with stages.stage("service", "starts"):
        running = machine.serve(place, release)
    try:
        with stages.stage("answer"):
            token = {inner.TOKEN: inner.make_token(place.settings.run)}
            reply = httpx.post(f"{running.url}/recommend", json=asked, headers=token, timeout=30)
    finally:
        if running.name not in before:
            processes.stop(running.name)
    if reply.status_code != 200:
        raise UnavailableError(f"the service answered {reply.status_code}: {reply.text[:300]}")
    answered: dict[str, Any] = reply.json()
    return answered


def question(url: str, asked: dict[str, Any]) -> str:
    """Return the shell command that asks a running service this; the moment is in it, for the data's present is long past."""
    return f"curl -s {url}/recommend -H 'Content-Type: application/json' -d '{orjson.dumps(asked).decode()}'"


def _present(place: Place, release: Release) -> datetime:
    """Return the end of the data that the release knows: the demonstration's present."""
    dataset = place.catalog.get(getattr(place.catalog.get(release.bento), "dataset", ""))
    assert isinstance(dataset, Dataset)
    return dataset.as_of


def show(shown: dict[str, Any]) -> None:
    """Show the demonstration to a person."""
    intake.show_landed(shown["landed"])
    commands.show_turn(shown)
    rows = [
        [
            item["item"],
            item["title"] or "-",
            item["score"],
            ", ".join(item["sources"]),
            "; ".join(item["reasons"]),
        ]
        for item in shown["answer"]["items"]
    ]
    terminal.table(f"For household {HOUSEHOLD}", ["item", "title", "score", "sources", "reasons"], rows)
    terminal.OUT.print(f"receipt {shown['receipt']}; it leads back to:", highlight=False)
    commands.show_lineage(shown["lineage"])
    commands.show_verified(shown["verification"])
    terminal.OUT.print(f"{shown['seconds']:.0f} s in all. To ask again, `counterfoil up`, then:")
    terminal.OUT.print(shown["ask_again"], highlight=False, markup=False, soft_wrap=True)
