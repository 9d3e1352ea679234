"""The follower's process on a real installation: it judges by what all gateways count, and who releases waits for it."""

import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bentos.gateway import stats as gateway_stats
from bentos.gateway.stats import Counts, Second, Stats, Told
from counterfoil.errors import UnavailableError
from counterfoil.types import Candidate, Release, Rollout
from flows import doctor, machine, steer
from flows.cluster.__main__ import main, watch
from flows.cluster.follower import Follower
from flows.cluster.gateways import Gateways
from flows.cluster.pods import Pods
from flows.manifests import Scale
from flows.place import Place
from flows.supervisor import judging
from flows.supervisor.services import name_of
from tests.loop_shop import challenger_of, champion_of, place_of, small_case
from tests.small_cluster import GATEWAYS, Small

CASE = small_case(rollout=Rollout(shares=(0.1,), stage_seconds=60, stage_requests=100, patience_seconds=3600))


@pytest.fixture
def place(turned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(steer, "use_case", lambda name: {"small": CASE}[name])
    monkeypatch.setattr(machine, "CLUSTER_SECONDS", 30.0)
    monkeypatch.setattr(judging, "EVERY_SECONDS", 0.05)
    monkeypatch.setattr("flows.cluster.__main__.EVERY_SECONDS", 0.01)
    copied = place_of(shutil.copytree(turned, tmp_path / "home"))
    yield copied
    copied.catalog.engine.dispose()


def challenge(place: Place) -> Release:
    loser = next(one for one in place.catalog.find(Candidate, "small") if one.family == "popularity")
    steer.promote(place, loser.id, "Ada", "to see")
    return challenger_of(place)


class Running:
    """A follower and its cluster, in threads: a turn each hundredth of a second."""

    def __init__(self, place: Place, small: Small) -> None:
        self.place, self.small, self.over = place, small, threading.Event()
        self.lock = threading.Lock()
        self.failing: set[str] = set()  # releases whose answers fail
        gateways = Gateways(
            host="gateways", port=3000, fetch=self.fetch, resolve=lambda host, port: list(GATEWAYS)
        )
        cluster = small.cluster()
        self.follower = Follower(
            run=place.settings.run,
            cluster=cluster,
            gateways=gateways,
            pods=Pods(cluster=cluster, fetch=self.fetch, warm=lambda url: True),
            scale=lambda image: Scale(image=image),
            collector="http://collector:3009",
        )
        turning = threading.Thread(target=self.turn)
        watching = threading.Thread(
            target=watch, args=(place, self.follower, "small", dict, self.over), kwargs={"case": CASE}
        )
        self.threads = (turning, watching)
        for thread in self.threads:
            thread.start()

    def turn(self) -> None:
        while not self.over.wait(0.01):
            self.small.turn()

    def fetch(self, url: str) -> bytes | None:
        if not url.endswith("/-/stats"):
            return self.small.fetch(url)
        routes = self.small.taken[url.split("/")[2].split(":")[0]]
        told = (
            [] if routes is None else [one for one in (routes.champion, routes.challenger) if one is not None]
        )
        return gateway_stats.write(
            Stats(
                now=time.time(),
                began=1.0,
                epoch=0 if routes is None else routes.epoch,
                use_case="small",
                releases=[
                    _counted(
                        one.release, one.bento, one.epoch, one.stage, 500 * (one.release in self.failing)
                    )
                    for one in told
                ],
            )
        )

    def until(self, what: object, seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while not what():  # type: ignore[operator]
            assert time.monotonic() < end, "that never came"
            time.sleep(0.02)

    def end(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join(30)


def _counted(release: str, bento: str, epoch: int, stage: str, errors: int) -> Told:
    live = Counts(requests=1000, errors=errors, latency={30: 1000})
    return Told(
        release=release, bento=bento, epoch=epoch, stage=stage, since=time.time() - 5, live=live, copies=live,
        seconds=[Second(at=int(time.time()), live=live, copies=live)],
    )  # fmt: skip


def test_a_challenger_whose_answers_fail_is_taken_back_and_the_cluster_follows(place: Place) -> None:
    run = Running(place, Small())
    try:
        first = champion_of(place)
        assert machine.on_cluster(place) or run.until(lambda: machine.on_cluster(place)) is None
        assert machine.follow(place, "small") == first.id
        now = challenge(place)
        assert machine.follow(place, "small") == first.id
        held = machine.routed(place)
        assert held is not None and held.challenger is not None and held.challenger.release == now.id
        run.failing = {now.id}
        run.until(lambda: place.catalog.challenger("small") is None)
        assert machine.follow(place, "small") == first.id
        held = machine.routed(place)
        assert held is not None and held.challenger is None
        said = judging.last_ruling(place.settings.run)
        assert said is not None and (said["release"], said["course"]) == (now.id, "take back")
        assert "a cluster follows" in doctor.CHECKS["processes"](place)[1]
    finally:
        run.end()


def test_a_challenger_whose_pods_never_come_up_is_taken_back(place: Place) -> None:
    small = Small()
    run = Running(place, small)
    try:
        run.until(lambda: machine.routed(place) is not None)
        small.broken = {name_of(challenge(place).tag)}
        run.until(lambda: place.catalog.challenger("small") is None, 60)
        last = place.catalog.get(place.catalog.releases("small")[0]["id"])
        assert isinstance(last, Release) and last.stage == "retired"
        sentences = place.catalog.get(last.decision).sentences  # type: ignore[union-attr]
        assert re.search(r"It did not come up in [4-9] starts: .* exit code 1", " ".join(sentences))
        assert machine.follow(place, "small") == champion_of(place).id
    finally:
        run.end()


def test_who_releases_where_nobody_follows_any_more_does_not_wait(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert machine.follow(place, "small") is None and machine.behind(place, "small") is None
    place.settings.run.mkdir(exist_ok=True)
    mark = place.settings.run / machine.ON_CLUSTER
    machine.mark_cluster(place, "small")
    os.utime(mark, (time.time() - 200, time.time() - 200))
    assert machine.follow(place, "small") is None
    machine.mark_cluster(place, "another")
    assert machine.follow(place, "small") is None and machine.behind(place, "small") is None
    machine.mark_cluster(place, "small")
    monkeypatch.setattr(machine, "CLUSTER_SECONDS", 0.1)
    assert machine.behind(place, "small") == champion_of(place)
    with pytest.raises(UnavailableError, match="does not answer as released yet: look at `kubectl get pods"):
        machine.follow(place, "small")


def test_it_does_not_begin_without_a_token_or_with_no_pods(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--replicas", "0"])
    assert ended.value.code == 2 and "--replicas is 0" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2 and "there is no token" in capsys.readouterr().err
