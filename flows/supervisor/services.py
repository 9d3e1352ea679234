"""One service process per bento: started, pointed at its release, warmed, replaced when it does not follow, started again."""

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bentos.release import FILE, Released
from counterfoil.errors import CounterfoilError
from counterfoil.processes import Running
from counterfoil.types import Release
from flows.machine import PREFIX
from flows.supervisor.ports import port_for
from flows.supervisor.world import World

log = logging.getLogger(__name__)
START_SECONDS = 120.0  # in which a service must be ready
FOLLOW_SECONDS = 10.0  # in which one takes a new pointer; bentos of earlier versions never do
SICK_SECONDS = 15.0  # for which a service that was ready may be silent before it is ended
STEADY_SECONDS = 60.0  # after which earlier failures are forgotten
MOST_WAIT_SECONDS = 30.0


@dataclass(kw_only=True, slots=True)
class Trouble:
    """How often something failed in a row, and from when on it may be tried again."""

    times: int = 0
    until: float = 0.0
    said: str = ""

    def again(self, now: float, said: str) -> None:
        """Note a failure: the wait doubles with each, from half a second on."""
        self.times += 1
        self.until = now + min(MOST_WAIT_SECONDS, 0.5 * 2 ** min(self.times - 1, 10))
        self.said = said


@dataclass(kw_only=True, slots=True)
class Seen:
    """What the supervisor knows of a process: since when it runs, answers, is warm, answers as another release."""

    since: float
    answered: float | None = None
    warm: bool = False
    behind: float | None = None


@dataclass(kw_only=True)
class Services:
    """The service processes here, of one use case. `bento` says where the bento of a tag lies."""

    world: World
    run: Path
    first_port: int
    bento: Callable[[str], Path]
    seen: dict[tuple[str, int], Seen] = field(default_factory=dict)
    trouble: dict[str, Trouble] = field(default_factory=dict)  # by release
    up: set[str] = field(default_factory=set)  # releases that were ready when they were last asked for

    def processes(self) -> dict[str, Running]:
        """Return the service processes that live, by name."""
        running = self.world.running()
        return {name: process for name, process in running.items() if name.startswith(PREFIX)}

    def processes_of(self, release: Release) -> dict[str, Running]:
        """Return those that serve a release's bento."""
        return {name: one for name, one in self.processes().items() if one.detail == release.tag}

    def ready(self, release: Release) -> Running | None:
        """Do what is next to have a release's service; return it once it is ready: it answers as this release, and is warm."""
        process = self._ready(release)
        (self.up.discard if process is None else self.up.add)(release.id)
        return process

    def _ready(self, release: Release) -> Running | None:
        every = list(self.processes_of(release).values())
        self._forget({(one.name, one.pid) for one in self.processes().values()})
        self._point(release, [one.name for one in every] or [name_of(release.tag)])
        if not every:
            self._start(name_of(release.tag), release)
            return None
        for process in sorted(every, key=lambda one: one.created, reverse=True):
            if self._answers(process, release):
                return process
        self._replace(every, release)
        return None

    def failed(self, release: Release) -> Trouble | None:
        """Return what keeps a release's service from being ready, None when nothing is known to."""
        return None if release.id in self.up else self.trouble.get(release.id)

    def keep_to(self, releases: set[str]) -> None:
        """Forget what was known of every other release: a bento that is released again begins anew."""
        for name in self.trouble.keys() - releases:
            del self.trouble[name]
        self.up &= releases

    def _point(self, release: Release, names: list[str]) -> None:
        for name in names:
            path = self.run / name / FILE
            wanted = Released(release=release.id, epoch=release.epoch, bento=release.tag)
            if _pointed(path) != wanted:
                self.world.point(path, wanted)

    def _start(self, name: str, release: Release) -> None:
        now = self.world.clock()
        trouble = self.trouble.get(release.id)
        if trouble is not None and now < trouble.until:
            return
        if trouble is None:
            trouble = self.trouble[release.id] = Trouble()
        port = port_for(release.tag, self.world, self.run, self.first_port)
        pointer = self.run / name / FILE
        command = [sys.executable, "-m", "bentos.serve", "--bento", str(self.bento(release.tag))]
        command += ["--release-file", str(pointer), "--port", str(port)]
        # Counted as a failure until it is ready: one that dies at its start is tried again more and more rarely.
        trouble.again(now, f"{release.tag} did not come up; see logs/{name}.log")
        log.warning("start %s for %s at port %d", name, release.id, port)
        try:
            process = self.world.start(name, command, f"http://127.0.0.1:{port}", release.tag)
        except CounterfoilError as fault:
            trouble.said = str(fault)
            return
        self.seen[process.name, process.pid] = Seen(since=now)

    def _answers(self, process: Running, release: Release) -> bool:
        """Say whether a process is ready as this release; one that takes too long, or fell silent, is ended."""
        now = self.world.clock()
        seen = self.seen.setdefault((process.name, process.pid), Seen(since=now))
        told = self.world.ask(process.url, "/readyz")
        if told is None:
            self._end_silent(process, release, seen, now)
            return False
        seen.answered = now
        if told.get("release") != release.id:
            seen.behind = now if seen.behind is None else seen.behind
            return False
        seen.behind = None
        if not seen.warm:
            seen.warm = self.world.warm(process.url)
        if seen.warm and now - seen.since > STEADY_SECONDS:
            self.trouble.pop(release.id, None)
        return seen.warm

    def _end_silent(self, process: Running, release: Release, seen: Seen, now: float) -> None:
        late = seen.answered is None and now - seen.since > START_SECONDS
        silent = seen.answered is not None and now - seen.answered > SICK_SECONDS
        if late or silent:
            log.warning("%s (%d) does not answer: ended", process.name, process.pid)
            self.world.kill(process.name)
            self.trouble.setdefault(release.id, Trouble()).said = f"{process.name} does not answer"

    def _replace(self, every: list[Running], release: Release) -> None:
        """Start another process beside one that does not take its new pointer; the old one goes when nobody needs it."""
        now, name = self.world.clock(), f"{name_of(release.tag)}-{release.epoch}"
        states = [self.seen[one.name, one.pid] for one in every]
        behind = all(state.behind is not None and now - state.behind > FOLLOW_SECONDS for state in states)
        if behind and name not in {one.name for one in every}:
            self._point(release, [name])
            self._start(name, release)

    def _forget(self, living: set[tuple[str, int]]) -> None:
        for key in self.seen.keys() - living:
            del self.seen[key]


def name_of(tag: str) -> str:
    """Return the name of a bento's service process: the first eight digits of the bento's digest."""
    return PREFIX + tag.partition(":")[2][:8]


def _pointed(path: Path) -> Released | None:
    from bentos import release

    try:
        return release.read(path)
    except CounterfoilError:
        return None
