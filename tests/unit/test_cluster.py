"""The follower of a cluster: whatever dies at whatever moment of a release, enough pods answer, and all ends well."""

from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from bentos.routes import FILE, read
from flows.cluster.follower import DRAIN_SECONDS, UNASKED_SECONDS, Follower, routes_in
from flows.cluster.gateways import Gateways
from flows.cluster.pods import Pods
from flows.manifests import COMPONENT, Scale
from flows.supervisor.keeper import TROUBLE
from flows.supervisor.services import name_of
from flows.supervisor.wanted import Wanted
from tests.mortal import Died, attempts
from tests.small_cluster import GATEWAYS, IMAGE, NUDGED_TURNS, TURN_SECONDS, Small
from tests.unit.test_cluster_pods import pod
from tests.unit.test_supervisor import BEFORE, CANARY, FIRST, NEW, STAGES


def follower_of(small: Small, folder: Path) -> Follower:
    cluster = small.cluster()
    return Follower(
        run=folder,
        cluster=cluster,
        gateways=Gateways(
            host="gateways", port=3000, fetch=small.fetch, resolve=lambda host, port: list(GATEWAYS)
        ),
        pods=Pods(cluster=cluster, fetch=small.fetch, warm=lambda url: True),
        scale=lambda image: Scale(image=image),
        collector="http://collector:3009",
    )


def live(small: Small, folder: Path, wanted: Wanted, turns: int = 70) -> Follower:
    follower = follower_of(small, folder)
    for _ in range(turns):
        follower.follow(wanted)
        small.turn()
    return follower


def cluster_of(folder: Path) -> Small:
    """Return a cluster in which the first champion answers by two pods."""
    folder.mkdir(parents=True, exist_ok=True)
    small = Small()
    follower = live(small, folder, BEFORE, 30)
    assert follower.settled and follower.answers() == FIRST.id
    small.effects, small.least = 0, 2
    return small


def whole(small: Small, folder: Path, wanted: Wanted) -> None:
    """Gateways and home say what the table says, and nothing is left of others."""
    held = read(folder / FILE)
    assert set(small.taken.values()) == {held} == {routes_in(small.store.values())}
    assert (held.epoch, held.champion.release) == (wanted.epoch, wanted.champion.id)
    assert (None if held.challenger is None else held.challenger.release) == (
        None if wanted.challenger is None else wanted.challenger.id
    )
    names = {name_of(one.tag) for one in wanted.releases}
    for kind in ("Deployment", "Service"):
        ours = {one["metadata"]["name"] for one in released(small) if one["kind"] == kind}
        assert ours == names
    assert sum(one["kind"] == "ConfigMap" for one in released(small)) == len(names), (
        "pointers of others are left"
    )
    for one in wanted.releases:
        pods = small.pods[name_of(one.tag)]
        assert len(pods) == (1 if one is wanted.challenger else 2) and {pod.tells for pod in pods} == {one.id}


def released(small: Small) -> list[dict[str, object]]:
    return [
        one for one in small.store.values() if one["metadata"]["labels"].get(COMPONENT[0]) == COMPONENT[1]
    ]


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_is_reached_with_enough_pods_all_the_way(tmp_path: Path, stage: str) -> None:
    small = cluster_of(tmp_path)
    follower = live(small, tmp_path, STAGES[stage])
    whole(small, tmp_path, STAGES[stage])
    assert follower.settled and follower.trouble == {}
    before = small.effects
    live(small, tmp_path, STAGES[stage], 20)
    assert small.effects - before == len(STAGES[stage].releases), (
        "what is as wanted is applied by a new follower once, and left then"
    )


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("stage", STAGES)
def test_who_dies_at_any_effect_is_finished_by_the_next(tmp_path: Path, stage: str, after: bool) -> None:

    def died(deadly: int) -> bool:
        folder = tmp_path / str(deadly)
        small = cluster_of(folder)
        small.deadly, small.after, died = deadly, after, False
        for wanted in (STAGES["shadow"], STAGES[stage]):
            try:
                live(small, folder, wanted, 40)
            except Died:
                died = True
                small.turn()
        small.deadly = 0
        live(small, folder, STAGES[stage])
        whole(small, folder, STAGES[stage])
        return died

    assert attempts(died) >= 4, "there is more than that to be cut off"


def test_a_challenger_that_never_comes_up_holds_nobody_back(tmp_path: Path) -> None:
    small = cluster_of(tmp_path)
    small.broken = {name_of(CANARY.tag)}
    follower = live(small, tmp_path, STAGES["canary"])
    held = read(tmp_path / FILE)
    assert (held.epoch, held.champion.release, held.challenger) == (3, FIRST.id, None)
    trouble = follower.failed(CANARY)
    assert trouble is not None and trouble.times > 5 and "exit code 1 (Error)" in trouble.said
    assert not follower.settled and list(orjson.loads((tmp_path / TROUBLE).read_bytes())) == [CANARY.id]
    follower = live(small, tmp_path, STAGES["taken back"])
    whole(small, tmp_path, STAGES["taken back"])
    assert follower.trouble == {} and orjson.loads((tmp_path / TROUBLE).read_bytes()) == {}


def test_a_new_champion_that_never_comes_up_leaves_people_with_the_one_before(tmp_path: Path) -> None:
    small = cluster_of(tmp_path)
    small.broken = {name_of(NEW.tag)}
    follower = live(small, tmp_path, STAGES["with a spare"], 200)
    assert follower.answers() == FIRST.id and {
        None if routes is None else routes.champion.release for routes in small.taken.values()
    } == {FIRST.id}
    assert follower.failed(NEW) is not None and follower.failed(FIRST) is None


def test_who_goes_back_waits_for_no_pod(tmp_path: Path) -> None:
    small = cluster_of(tmp_path)
    live(small, tmp_path, STAGES["with a spare"])
    back = Wanted(use_case="shop", epoch=5, champion=replace(FIRST, epoch=5))
    pods = list(small.pods[name_of(FIRST.tag)])
    follower, turns = follower_of(small, tmp_path), 0
    while {routes and routes.epoch for routes in small.taken.values()} != {5}:
        follower.follow(back)
        small.turn()
        turns += 1
    assert turns <= 2 * NUDGED_TURNS + 2 and small.pods[name_of(FIRST.tag)] == pods
    live(small, tmp_path, back)
    whole(small, tmp_path, back)


def test_pods_that_take_no_pointer_are_replaced(tmp_path: Path) -> None:
    """Those of bentos of earlier versions."""
    small = cluster_of(tmp_path)
    small.follows = False
    live(small, tmp_path, STAGES["shadow"], 30)
    live(small, tmp_path, STAGES["canary"], 150)
    whole(small, tmp_path, STAGES["canary"])


def test_people_of_a_canary_stay_with_it_while_it_comes_to_another_share(tmp_path: Path) -> None:
    small = cluster_of(tmp_path)
    live(small, tmp_path, STAGES["canary"])
    wider = Wanted(use_case="shop", epoch=5, champion=FIRST, challenger=replace(CANARY, epoch=5, share=0.5))
    follower, told = follower_of(small, tmp_path), []
    for _ in range(60):
        follower.follow(wider)
        small.turn()
        told += [routes.challenger for routes in small.taken.values() if routes is not None]
    assert None not in told and {one.share for one in told if one is not None} == {0.1, 0.5}
    whole(small, tmp_path, wider)


def test_nothing_is_taken_away_before_every_gateway_has_left_it(tmp_path: Path) -> None:
    small = cluster_of(tmp_path)
    follower = follower_of(small, tmp_path)
    old, left, gone = name_of(FIRST.tag), None, None
    for turn in range(120):
        follower.follow(STAGES["champion"])
        small.turn()
        everywhere = {routes.champion.release for routes in small.taken.values() if routes is not None}
        left = turn if left is None and everywhere == {NEW.id} else left
        gone = turn if gone is None and ("Service", old) not in small.store else gone
    assert (
        left is not None and gone is not None and (gone - left) * TURN_SECONDS >= DRAIN_SECONDS - TURN_SECONDS
    )


def test_a_gateway_that_does_not_answer_is_waited_for_longer(tmp_path: Path) -> None:
    small = cluster_of(tmp_path)
    small.least = 0
    small.silent = {GATEWAYS[1]}
    small.taken[GATEWAYS[1]] = None
    follower, gone = follower_of(small, tmp_path), None
    for turn in range(200):
        follower.follow(STAGES["champion"])
        small.turn()
        gone = turn if gone is None and ("Service", name_of(FIRST.tag)) not in small.store else gone
    assert gone is not None and gone * TURN_SECONDS >= UNASKED_SECONDS
    assert follower.answers() == FIRST.id, "nobody says that all gateways have it"


def test_the_image_is_the_followers_own_and_routes_that_somebody_broke_are_written_anew(
    tmp_path: Path,
) -> None:
    small = cluster_of(tmp_path)
    images = {
        container["image"]
        for one in released(small)
        if one["kind"] == "Deployment"
        for container in one["spec"]["template"]["spec"]["containers"]  # type: ignore[index]
    }
    assert images == {IMAGE}
    small.store["ConfigMap", "routes"]["data"] = {FILE: "{"}
    live(small, tmp_path, BEFORE, 40)
    whole(small, tmp_path, BEFORE)
    del small.store["Service", name_of(FIRST.tag)]  # somebody did
    small.least = 0
    live(small, tmp_path, BEFORE, 2)
    whole(small, tmp_path, BEFORE)


def test_going_back_takes_one_pod_and_waits_for_none(tmp_path: Path) -> None:
    """A node is lost with one of the two; the other is there, and people are with a bad champion."""
    small = cluster_of(tmp_path)
    live(small, tmp_path, STAGES["with a spare"])
    small.least = 1
    small.lost = {small.pods[name_of(FIRST.tag)][0].name}
    back = Wanted(use_case="shop", epoch=5, champion=replace(FIRST, epoch=5), back=True)
    live(small, tmp_path, back, 10)
    assert {routes and routes.champion.release for routes in small.taken.values()} == {back.champion.id}
    further = Wanted(use_case="shop", epoch=6, champion=replace(NEW, epoch=6))
    small.lost |= {small.pods[name_of(NEW.tag)][0].name}
    live(small, tmp_path, further, 30)
    assert {routes and routes.epoch for routes in small.taken.values()} == {5}, "who goes on waits for all"


def test_pods_that_say_nothing_or_only_lie_there_are_left_alone(tmp_path: Path) -> None:
    small = cluster_of(tmp_path)
    small.deaf = {pod.name for pod in small.pods[name_of(FIRST.tag)]}
    follower = live(small, tmp_path, BEFORE, 300)
    assert small.restarts == 0 and follower.answers() == FIRST.id
    trouble = follower.failed(FIRST)
    assert trouble is not None and "may this pod reach them?" in trouble.said
    small.deaf = set()
    small.evicted[name_of(FIRST.tag)] = [pod(False, phase="Failed")]
    follower = live(small, tmp_path, STAGES["shadow"])
    whole(small, tmp_path, STAGES["shadow"])
    assert small.restarts == 0 and follower.settled


def test_pods_that_answer_no_question_are_not_routed_to(tmp_path: Path) -> None:
    small = cluster_of(tmp_path)
    follower = follower_of(small, tmp_path)
    cold = name_of(CANARY.tag)
    follower.pods.warm = lambda url: cold not in url
    for _ in range(60):
        follower.follow(STAGES["canary"])
        small.turn()
    held = read(tmp_path / FILE)
    trouble = follower.failed(CANARY)
    assert held.challenger is None and trouble is not None and "do not answer a question" in trouble.said


def test_a_challenger_that_the_cluster_refuses_holds_nobody_back(tmp_path: Path) -> None:
    small = cluster_of(tmp_path)
    small.refused = {name_of(CANARY.tag)}
    follower = live(small, tmp_path, STAGES["canary"], 40)
    held, trouble = read(tmp_path / FILE), follower.failed(CANARY)
    assert (held.epoch, held.champion.release, held.challenger) == (3, FIRST.id, None)
    assert trouble is not None and trouble.times > 4 and "quota" in trouble.said
    small.refused = set()
    live(small, tmp_path, STAGES["canary"])
    whole(small, tmp_path, STAGES["canary"])


def test_mounts_that_cannot_be_hurried_are_waited_for(tmp_path: Path) -> None:
    small = cluster_of(tmp_path)
    small.hurries = False
    follower, old = follower_of(small, tmp_path), name_of(FIRST.tag)
    left = gone = 0
    for turn in range(1, 200):
        follower.follow(STAGES["champion"])
        small.turn()
        everywhere = {routes.champion.release for routes in small.taken.values() if routes is not None}
        left = left or turn * (everywhere == {NEW.id})
        gone = gone or turn * (("Service", old) not in small.store)
    whole(small, tmp_path, STAGES["champion"])
    assert left and (gone - left) * TURN_SECONDS >= DRAIN_SECONDS - TURN_SECONDS


def test_a_canary_whose_pods_are_gone_answers_nobody(tmp_path: Path) -> None:
    small = cluster_of(tmp_path)
    live(small, tmp_path, STAGES["canary"])
    small.least = 0
    small.lost = {pod.name for pod in small.pods[name_of(CANARY.tag)]}
    live(small, tmp_path, STAGES["canary"], 10)
    assert {routes and routes.challenger for routes in small.taken.values()} == {None}
