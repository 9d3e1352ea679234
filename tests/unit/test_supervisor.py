"""The supervisor in a world of its own: whatever dies at whatever moment of a release, a champion answers, and all ends well.

The world has services that take time to be ready, a gateway that takes routes late, and files on disk; its clock is a count of
passes. Who supervises dies before or after the Nth effect for every N.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from bentos import release as pointers
from bentos.routes import FILE, Routes, read, write
from counterfoil.errors import ConflictError, UnavailableError
from counterfoil.processes import Running
from counterfoil.settings import Settings
from counterfoil.types import Release
from flows.supervisor import world as worlds
from flows.supervisor.keeper import TROUBLE, Keeper
from flows.supervisor.ports import port_for
from flows.supervisor.services import Services, name_of
from flows.supervisor.wanted import Wanted
from flows.supervisor.world import World
from tests.mortal import Died, Mortal, attempts

PASS_SECONDS = 0.5
START_PASSES = 6  # that a service takes until it is ready
LAG_PASSES = 8  # that the gateway takes until it has new routes: longer than a service is given to drain


@dataclass
class Process:
    """A process of the world. A service that `follows` reads its pointer anew; one that is `broken` never gets ready."""

    running: Running
    born: int
    serves: str | None = None
    asked: int = 0
    leaving: int | None = None


@dataclass(kw_only=True)
class Sim(Mortal):
    """The world of a supervisor."""

    run: Path
    follows: bool = True
    broken: frozenset[str] = frozenset()
    passes: int = 0
    pids: int = 100
    processes: dict[str, Process] = field(default_factory=dict)
    taken: Routes | None = None
    waiting: list[tuple[int, Routes]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)  # who answered, pass by pass

    def world(self) -> World:
        """Return the effects on it."""
        return World(
            running=lambda: {name: one.running for name, one in self.processes.items()},
            start=self.mortal(self.start),
            dismiss=self.mortal(self.dismiss),
            kill=self.mortal(self.kill),
            ask=self.ask,
            fetch=lambda url: None,
            warm=self.mortal(self.warm),
            point=self.mortal(worlds._point),
            route=self.mortal(lambda path, routes: write(routes, path)),
            free_port=lambda first, taken: next(port for port in range(first, 65536) if port not in taken),
            clock=lambda: self.passes * PASS_SECONDS,
        )

    def check(self) -> None:
        self.nobody_else()
        self.invariant()

    def start(self, name: str, command: Sequence[str], url: str, detail: str) -> Running:
        if name in self.processes:
            raise ConflictError(f"{name} runs already")
        self.pids += 1
        running = Running(name=name, pid=self.pids, created=float(self.pids), url=url, detail=detail, log="")
        serves = None
        if "--release-file" in command:
            serves = pointers.read(Path(command[command.index("--release-file") + 1])).release
        self.processes[name] = Process(running, self.passes, serves)
        return running

    def dismiss(self, name: str) -> bool:
        self.processes[name].leaving = self.passes + 1
        return True

    def kill(self, name: str) -> bool:
        return self.processes.pop(name, None) is not None

    def warm(self, url: str) -> bool:
        process = self.at(url)
        assert process is not None
        process.asked += 1
        return True

    def at(self, url: str) -> Process | None:
        return next((one for one in self.processes.values() if one.running.url == url), None)

    def ready(self, process: Process) -> bool:
        return (
            process.running.detail not in self.broken
            and self.passes - process.born >= START_PASSES
            and process.leaving is None
        )

    def ask(self, url: str, path: str) -> dict[str, Any] | None:
        if path == "/-/routes":
            return None if self.taken is None else asdict(self.taken)
        process = self.at(url)
        if process is None or not self.ready(process):
            return None
        if self.follows:
            process.serves = pointers.read(self.run / process.running.name / pointers.FILE).release
        return {"release": process.serves}

    def turn(self) -> None:
        """Let half a second pass: broken services die, dismissed ones end, the gateway takes what it saw a while ago."""
        self.passes += 1
        for name, process in list(self.processes.items()):
            early = process.running.detail in self.broken and self.passes - process.born > 2
            if early or (process.leaving is not None and self.passes > process.leaving):
                del self.processes[name]
        if "gateway" in self.processes and (self.run / FILE).is_file():
            routes = read(self.run / FILE)
            if not self.waiting or self.waiting[-1][1] != routes:
                self.waiting.append((self.passes + LAG_PASSES, routes))
            ripe = [routes for due, routes in self.waiting if due <= self.passes]
            self.taken = ripe[-1] if ripe else self.taken
        self.nobody_else()
        self.invariant()
        if self.taken is not None:
            self.seen.append(self.taken.champion.bento)

    def nobody_else(self) -> None:
        """Whoever answers under a route, a shadow's too, on disk or at the gateway, is of the bento that it names."""
        on_disk = [read(self.run / FILE)] if (self.run / FILE).is_file() else []
        for routes in (*on_disk, *([] if self.taken is None else [self.taken])):
            for route in filter(None, (routes.champion, routes.challenger)):
                process = self.at(route.url)
                assert process is None or process.running.detail == route.bento, f"another is at {route}"
            events = routes.collector and self.at(routes.collector)
            assert not events or events.running.detail == "events", "a service is where events go"

    def invariant(self) -> None:
        """Whoever the gateway sends people to is there, ready, warm, and of the bento that the routes name."""
        if self.taken is None:
            return
        for route in (self.taken.champion, self.taken.challenger):
            if route is not None and route.stage != "shadow":
                process = self.at(route.url)
                assert process is not None and self.ready(process), f"nobody is at {route}"
                assert process.running.detail == route.bento and process.asked


def release(epoch: int, digit: str, stage: str = "champion", share: float = 1.0) -> Release:
    return Release(
        use_case="shop",
        decision="decision-0000000000000000",
        bento=f"bento-{digit * 16}",
        tag=f"shop:{digit * 16}",
        epoch=epoch,
        stage=stage,
        share=share,
        valid_from=datetime(2026, 1, 1, tzinfo=UTC),
    )


FIRST = release(1, "a")
SHADOW, CANARY = release(2, "b", "shadow", 0.0), release(3, "b", "canary", 0.1)
NEW = release(4, "b")
BEFORE = Wanted(use_case="shop", epoch=1, champion=FIRST)
STAGES = {
    "shadow": Wanted(use_case="shop", epoch=2, champion=FIRST, challenger=SHADOW, mirror=0.5),
    "canary": Wanted(use_case="shop", epoch=3, champion=FIRST, challenger=CANARY),
    "champion": Wanted(use_case="shop", epoch=4, champion=NEW),
    "with a spare": Wanted(use_case="shop", epoch=4, champion=NEW, spare=FIRST),
    "taken back": Wanted(use_case="shop", epoch=4, champion=FIRST),
}


def keeper_of(sim: Sim) -> Keeper:
    settings = Settings(home=sim.run.parent, service_port=4000, gateway_port=3000)
    world = sim.world()
    return Keeper(
        settings=settings,
        world=world,
        services=Services(world=world, run=sim.run, first_port=4000, bento=lambda tag: Path("/bentos") / tag),
        release=lambda name: {one.id: one for one in (FIRST, SHADOW, CANARY, NEW)}[name],
        parts=frozenset(("gateway", "collector")),
    )


def live(sim: Sim, wanted: Wanted, passes: int = 60) -> Keeper:
    keeper = keeper_of(sim)
    for _ in range(passes):
        keeper.keep(wanted)
        sim.turn()
    return keeper


def sim_of(folder: Path, **changes: Any) -> Sim:
    """Return a world in which the first champion serves."""
    run = folder / "run"
    run.mkdir(parents=True)
    sim = Sim(run=run)
    live(sim, BEFORE, 20)
    assert sim.taken is not None and sim.taken.champion.release == FIRST.id
    sim.effects = 0
    for name, value in changes.items():
        setattr(sim, name, value)
    return sim


def whole(sim: Sim, wanted: Wanted) -> None:
    """See that it is as wanted, and nothing else is there."""
    assert sim.taken is not None and sim.taken == read(sim.run / FILE)
    assert sim.taken.epoch == wanted.epoch and sim.taken.champion.release == wanted.champion.id
    challenger = sim.taken.challenger
    assert (challenger and challenger.release) == (wanted.challenger and wanted.challenger.id)
    assert {one.running.detail for one in sim.processes.values()} == {
        "public door",
        "events",
        *(one.tag for one in wanted.releases),
    }
    collector = sim.processes["collector"].running
    assert sim.taken.collector == collector.url


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_is_reached_and_nobody_is_sent_to_nobody(tmp_path: Path, stage: str) -> None:
    sim = sim_of(tmp_path)
    live(sim, STAGES[stage])
    whole(sim, STAGES[stage])
    at = sim.seen.index(NEW.tag) if NEW.tag in sim.seen else len(sim.seen)
    assert set(sim.seen[:at]) == {FIRST.tag} and set(sim.seen[at:]) <= {NEW.tag}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("stage", STAGES)
def test_who_dies_at_any_effect_is_finished_by_the_next(tmp_path: Path, stage: str, after: bool) -> None:
    """From the first champion through shadow to that stage; the Nth effect for N = 1, 2, .. until none is left."""

    def died(deadly: int) -> bool:
        sim, died = sim_of(tmp_path / str(deadly), deadly=deadly, after=after), False
        for wanted in (STAGES["shadow"], STAGES[stage]):
            try:
                live(sim, wanted, 40)
            except Died:
                died = True
                sim.turn()
        sim.deadly = 0
        live(sim, STAGES[stage])
        whole(sim, STAGES[stage])
        live(sim, STAGES[stage], 3)
        whole(sim, STAGES[stage])
        return died

    assert attempts(died) >= 4, "there is more than that to be cut off"


@pytest.mark.parametrize("victim", ["gateway", "collector", name_of(FIRST.tag), name_of(NEW.tag)])
@pytest.mark.parametrize("moment", range(0, 30, 3))
def test_what_else_is_killed_meanwhile_comes_back(tmp_path: Path, victim: str, moment: int) -> None:
    sim = sim_of(tmp_path)
    sim.invariant = lambda: None  # type: ignore[method-assign]  # a champion that is killed is gone for a while
    keeper = keeper_of(sim)
    for number in range(120):
        if number == moment:
            sim.kill(victim)
            sim.taken, sim.waiting = (None, []) if victim == "gateway" else (sim.taken, sim.waiting)
        keeper.keep(STAGES["champion"])
        sim.turn()
    whole(sim, STAGES["champion"])
    Sim.invariant(sim)


def test_a_new_champion_that_never_comes_up_leaves_the_old_one_answering_and_is_told(tmp_path: Path) -> None:
    sim = sim_of(tmp_path, broken=frozenset([NEW.tag]))
    starts = sim.pids
    live(sim, STAGES["champion"], 240)  # two minutes
    assert set(sim.seen) == {FIRST.tag} and sim.taken is not None and sim.taken.epoch == 1
    assert NEW.tag in (sim.run / TROUBLE).read_text()
    assert 5 <= sim.pids - starts <= 10, "it is tried again, more and more rarely"
    sim.broken = frozenset()
    live(sim, STAGES["champion"])  # by another supervisor
    whole(sim, STAGES["champion"])
    assert (sim.run / TROUBLE).read_text() == "{}", "who came up is not said to be away"


def test_a_challenger_that_never_comes_up_is_in_nobodys_way(tmp_path: Path) -> None:
    sim = sim_of(tmp_path, broken=frozenset([NEW.tag]))
    live(sim, STAGES["canary"])
    assert sim.taken is not None and sim.taken.challenger is None and sim.taken.epoch == 3
    live(sim, STAGES["taken back"])
    whole(sim, STAGES["taken back"])


def test_an_old_champion_that_dies_before_the_new_one_is_ready_is_started_again(tmp_path: Path) -> None:
    sim = sim_of(tmp_path, broken=frozenset([NEW.tag]))
    sim.invariant = lambda: None  # type: ignore[method-assign]
    keeper = keeper_of(sim)
    keeper.keep(STAGES["champion"])
    sim.kill(name_of(FIRST.tag))
    for _ in range(20):
        keeper.keep(STAGES["champion"])
        sim.turn()
    Sim.invariant(sim)
    assert sim.taken is not None and sim.taken.champion.release == FIRST.id


@pytest.mark.parametrize("stage", ["shadow", "champion"])
def test_nobody_answers_at_the_place_of_a_champion_that_is_away(tmp_path: Path, stage: str) -> None:
    """Its route stays for a while after its death; the challenger that is started meanwhile begins elsewhere."""
    sim = sim_of(tmp_path)
    sim.invariant = lambda: None  # type: ignore[method-assign]  # the champion is away
    keeper = live(sim, BEFORE, 5)
    sim.broken = frozenset([FIRST.tag])
    sim.kill(name_of(FIRST.tag))
    for _ in range(20):  # by then it is tried rarely
        keeper.keep(BEFORE)
        sim.turn()
    sim.kill(name_of(FIRST.tag))
    for _ in range(60):
        keeper.keep(STAGES[stage])
        sim.turn()
    sim.broken = frozenset()
    for _ in range(120):
        keeper.keep(STAGES[stage])
        sim.turn()
    Sim.invariant(sim)
    whole(sim, STAGES[stage])


def test_the_place_of_a_dead_challenger_and_of_a_dead_collector_stays_theirs(tmp_path: Path) -> None:
    """Who comes back may have its own place again, while the routes name it there; another bento may not."""
    sim = sim_of(tmp_path)
    sim.invariant = lambda: None  # type: ignore[method-assign]
    live(sim, STAGES["canary"])
    places = {name: one.running.url for name, one in sim.processes.items()}
    first, second = name_of(FIRST.tag), name_of(NEW.tag)
    world = sim.world()
    for name in (first, second, "collector"):
        sim.kill(name)
    assert port_for(FIRST.tag, world, sim.run, 4000) == httpx.URL(places[first]).port
    assert port_for(NEW.tag, world, sim.run, 4000) == httpx.URL(places[second]).port
    assert port_for("collector", world, sim.run, 3999) == httpx.URL(places["collector"]).port
    taken = {httpx.URL(url).port for url in places.values()}
    assert port_for("shop:cccccccccccccccc", world, sim.run, 3999) not in taken
    (sim.run / FILE).unlink()
    assert port_for("shop:cccccccccccccccc", world, sim.run, 3999) not in taken, "the gateway holds them"


@pytest.mark.parametrize("stage", ["canary", "champion"])
def test_a_service_of_an_earlier_version_that_never_reads_its_pointer_anew_is_replaced(
    tmp_path: Path, stage: str
) -> None:
    sim = sim_of(tmp_path, follows=False)
    live(sim, STAGES["shadow"])
    live(sim, STAGES[stage], 90)
    whole(sim, STAGES[stage])
    [new] = [one for one in sim.processes.values() if one.running.detail == NEW.tag]
    assert new.serves == (CANARY if stage == "canary" else NEW).id
    assert len(sim.processes) == 2 + len(STAGES[stage].releases)


def test_a_service_that_falls_silent_is_ended_and_started_again(tmp_path: Path) -> None:
    sim = sim_of(tmp_path)
    sim.invariant = lambda: None  # type: ignore[method-assign]
    keeper = live(sim, BEFORE, 5)
    stuck = sim.processes[name_of(FIRST.tag)]
    stuck.born = 10_000  # it answers nothing any more
    for _ in range(60):
        keeper.keep(BEFORE)
        sim.turn()
    assert sim.processes[name_of(FIRST.tag)] is not stuck
    Sim.invariant(sim)
    whole(sim, BEFORE)


def test_what_cannot_be_started_is_no_end_of_the_rest(tmp_path: Path) -> None:
    sim = sim_of(tmp_path)
    keeper, start = keeper_of(sim), sim.start

    def refuses(name: str, *rest: Any) -> Running:
        if name == name_of(NEW.tag):
            raise UnavailableError("no memory")
        return start(name, *rest)

    sim.start = refuses  # type: ignore[method-assign]
    keeper.world = keeper.services.world = sim.world()
    for _ in range(30):
        keeper.keep(STAGES["champion"])
        sim.turn()
    assert set(sim.seen) == {FIRST.tag}
    assert "no memory" in (sim.run / TROUBLE).read_text()


def test_a_bento_that_failed_once_begins_anew_with_its_next_release(tmp_path: Path) -> None:
    """Its trouble goes with the release; and while a release is ready nothing is known against it."""
    sim = sim_of(tmp_path, broken=frozenset([NEW.tag]))
    keeper = live(sim, STAGES["canary"], 100)
    trouble = keeper.services.failed(CANARY)
    assert trouble is not None and trouble.times > 4
    for _ in range(20):
        keeper.keep(STAGES["taken back"])
        sim.turn()
    assert keeper.services.failed(CANARY) is None and not keeper.services.trouble
    sim.broken = frozenset()
    again = release(6, "b", "canary", 0.1)
    mended = Wanted(use_case="shop", epoch=6, champion=FIRST, challenger=again)
    pointers_of = {one.id: one for one in (FIRST, again)}
    keeper.release = lambda name: pointers_of[name]
    for _ in range(30):
        keeper.keep(mended)
        sim.turn()
        told = keeper.services.failed(again)
        assert told is None or told.times == 1
    assert sim.taken is not None and sim.taken.challenger is not None
    assert keeper.services.failed(again) is None, "it is ready, though not for a minute yet"


def test_a_spare_is_started_once_the_champion_is_ready(tmp_path: Path) -> None:
    sim = sim_of(tmp_path)
    sim.invariant = lambda: None  # type: ignore[method-assign]  # everything is stopped for a moment
    table = Wanted(use_case="shop", epoch=NEW.epoch, champion=NEW, spare=FIRST)
    live(sim, table)
    for one in (FIRST, NEW):
        sim.kill(name_of(one.tag))
    keeper = keeper_of(sim)
    keeper.keep(table)
    assert name_of(NEW.tag) in sim.processes
    assert name_of(FIRST.tag) not in sim.processes, (
        "it would take the processor from the one that is to answer"
    )
    for _ in range(40):
        sim.turn()
        keeper.keep(table)
    assert {name_of(FIRST.tag), name_of(NEW.tag)} <= sim.processes.keys()


def test_a_spare_that_answers_still_and_comes_back_elsewhere_is_found_there(tmp_path: Path) -> None:
    sim = sim_of(tmp_path, broken=frozenset([NEW.tag]))
    sim.invariant = lambda: None  # type: ignore[method-assign]
    keeper = keeper_of(sim)
    keeper.keep(STAGES["with a spare"])
    old = sim.processes[name_of(FIRST.tag)].running.url
    held = int(old.rpartition(":")[2])  # somebody else has its port by now
    keeper.world = keeper.services.world = replace(
        keeper.world,
        free_port=lambda first, taken: next(p for p in range(first, 65536) if p not in {*taken, held}),
    )
    sim.kill(name_of(FIRST.tag))
    for _ in range(40):
        keeper.keep(STAGES["with a spare"])
        sim.turn()
    Sim.invariant(sim)
    assert sim.taken is not None and sim.taken.champion.release == FIRST.id and sim.taken.champion.url != old


def test_one_that_was_wanted_again_while_it_ended_is_drained_the_next_time(tmp_path: Path) -> None:
    sim = sim_of(tmp_path)
    keeper = live(sim, STAGES["canary"])
    while not keeper.dismissed:
        keeper.keep(STAGES["taken back"])
        sim.turn()
    again = Wanted(use_case="shop", epoch=6, champion=FIRST, challenger=release(6, "b", "canary", 0.1))
    for _ in range(80):
        keeper.keep(again)
        sim.turn()
    killed: list[str] = []
    keeper.world = replace(keeper.world, kill=lambda name: bool(killed.append(name)))
    last = Wanted(use_case="shop", epoch=7, champion=FIRST)
    for _ in range(40):
        keeper.keep(last)
        sim.turn()
    assert not killed and name_of(NEW.tag) not in sim.processes


@pytest.mark.parametrize(
    ("status", "warm"), [(200, True), (204, False), (404, False), (422, False), (500, False)]
)
def test_who_refuses_the_first_questions_is_not_warm(status: int, warm: bool) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(status)

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        assert worlds.warm(client, "http://a") == warm
    assert asked == ["/recommend"] * (worlds.QUESTIONS if warm else 1)
