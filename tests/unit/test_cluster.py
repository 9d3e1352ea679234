"""The follower of a cluster: whatever dies at whatever moment of a release, enough pods answer, and all ends well."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from bentos.gateway import stats as gateway_stats
from bentos.gateway.stats import Counts, Second, Stats, Told
from bentos.routes import FILE, read
from counterfoil.errors import UnavailableError
from flows.cluster import kubectl
from flows.cluster.follower import DRAIN_SECONDS, UNASKED_SECONDS, Follower, routes_in
from flows.cluster.gateways import REMEMBERED, Gateways, addresses, merged
from flows.cluster.pods import Pods, rolled_out
from flows.manifests import COMPONENT, Scale
from flows.supervisor.keeper import TROUBLE, routes_of
from flows.supervisor.services import Trouble, name_of
from flows.supervisor.wanted import Wanted
from tests.small_cluster import GATEWAYS, IMAGE, NUDGED_TURNS, TURN_SECONDS, Died, Small
from tests.unit.test_supervisor import BEFORE, CANARY, FIRST, NEW, STAGES

INFRA = Path(__file__).resolve().parents[2] / "infra" / "kubernetes"


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
    died, deadly = True, 0
    while died:
        deadly += 1
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
    assert deadly >= 4, "there is more than that to be cut off"


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


def test_a_deployment_is_rolled_out_when_all_its_pods_and_no_others_answer() -> None:
    whole = {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
    made = {"metadata": {"generation": 3}, "spec": {"replicas": 2}, "status": whole}
    assert rolled_out(made)
    assert not rolled_out(None) and not rolled_out({**made, "status": {}})
    for change in (
        {"observedGeneration": 2},
        {"replicas": 3},
        {"updatedReplicas": 1},
        {"availableReplicas": 1},
    ):
        assert not rolled_out({**made, "status": {**whole, **change}})


def pod(ready: bool, *, made: str = "1", phase: str = "Running", **status: object) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "service-1-x",
            "uid": f"uid-{made}",
            "creationTimestamp": made,
            "labels": {"pod-template-hash": made},
        },
        "status": {
            "phase": phase,
            "conditions": [{"type": "Ready", "status": str(ready)}],
            **status,
        },
    }


def container(restarts: int, ran_seconds: int = 1, code: int = 137, message: str = "") -> dict[str, Any]:
    ended = {
        "exitCode": code,
        "reason": "OOMKilled",
        "message": message,
        "startedAt": "2026-01-01T00:00:00Z",
        "finishedAt": f"2026-01-01T00:{ran_seconds // 60:02}:{ran_seconds % 60:02}Z",
    }
    return {"name": "service", "restartCount": restarts, "lastState": {"terminated": ended}, "state": {}}


def pods_of(small: Small) -> Pods:
    return Pods(cluster=small.cluster(), fetch=small.fetch, warm=lambda url: True)


def test_what_keeps_pods_from_coming_up_is_told_in_a_sentence(caplog: pytest.LogCaptureFixture) -> None:
    def said(*pods: dict[str, Any]) -> Trouble | None:
        return pods_of(Small()).trouble_of(pods)

    loop = container(4, message="loading\nConfigError: redis://ann:hush@db does not answer\n")
    pulled = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    pulled = {"name": "service", "restartCount": 0, "state": pulled}
    begins = {"name": "service", "restartCount": 0, "state": {"waiting": {"reason": "ContainerCreating"}}}
    nowhere = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}
    assert said() is None and said(pod(True, containerStatuses=[loop])) is None
    assert said(pod(False, containerStatuses=[begins])) is None
    told = said(pod(False, containerStatuses=[loop]), pod(False, containerStatuses=[pulled]))
    assert told is not None and told.times == 5 and "137 (OOMKilled); look at `kubectl logs" in told.said
    assert "hush" not in told.said, "a decision cannot be cleaned"
    assert "service-1-x ended: ConfigError: redis" in caplog.text
    done = {"name": "mesh", "restartCount": 0, "state": {"terminated": {"exitCode": 0}}}
    image = said(pod(False, initContainerStatuses=[done], containerStatuses=[pulled]))
    assert image is not None and image.times == 0 and "ImagePullBackOff: no such image" in image.said
    waits = said({**pod(False), "status": {"conditions": [nowhere]}})
    assert waits is not None and "has no node: 0/3" in waits.said


def test_ends_count_in_a_row_and_of_the_newest_pods_alone() -> None:
    """One that ran for weeks and falls for the fourth time in its life has fallen once."""
    pods = pods_of(Small())

    def times(*every: dict[str, Any]) -> int | None:
        trouble = pods.trouble_of(every)
        return None if trouble is None else trouble.times

    assert times(pod(False, containerStatuses=[container(4, 3000)])) == 2
    assert times(pod(False, containerStatuses=[container(4, 3000)])) == 2, "the same end again"
    assert times(pod(False, containerStatuses=[container(6)])) == 4
    assert times(pod(False, containerStatuses=[container(7, 600)])) == 2
    fresh = pod(False, made="2", containerStatuses=[{"name": "service", "restartCount": 0, "state": {}}])
    old = pod(False, containerStatuses=[container(9)])
    assert times(old, fresh) is None, "what fell is mended"
    ending = pod(False, made="3", containerStatuses=[container(9)])
    ending["metadata"]["deletionTimestamp"] = "now"
    evicted = pod(False, made="3", phase="Failed", containerStatuses=[container(9)])
    assert times(ending, evicted, fresh) is None


def test_a_deployment_that_may_have_no_pods_says_so(tmp_path: Path) -> None:
    failing = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}
    made = {"metadata": {"generation": 1}, "spec": {}, "status": {"conditions": [failing]}}
    told = pods_of(Small()).trouble(CANARY, made)
    assert told is not None and told.said == f"{name_of(CANARY.tag)} has no pods: exceeded quota"


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


def test_nothing_is_summed_up_before_every_gateway_was_heard() -> None:
    """What one that was missed had counted would seem to have happened all at once."""
    told: dict[str, bytes] = {"a": gateway_stats.write(stats_of(1.0, 10.0, 50, 0))}
    now = [0.0]
    gateways = Gateways(
        host="g",
        port=1,
        fetch=lambda url: told.get(url.split("/")[2].split(":")[0]),
        resolve=lambda host, port: ["a", "b"],
        clock=lambda: now[0],
    )
    assert gateways.stats() is None
    told["b"] = gateway_stats.write(stats_of(2.0, 10.0, 100_000, 5000))
    whole = gateways.stats()
    held = None if whole is None else whole.of(FIRST.id)
    assert held is not None and held.live.requests == 100_050
    del told["b"]
    assert gateways.stats() is not None, "it was heard once"
    gateways.heard.clear()
    assert gateways.stats() is None
    now[0] = 31.0
    assert gateways.stats() is not None, "one that never says anything keeps nobody from judging"


def test_every_gateway_is_asked_and_what_one_counted_that_has_ended_goes_on_to_count() -> None:
    told = {"a": stats_of(1.0, 10.0, 100, 3), "b": stats_of(2.0, 20.0, 50, 0)}
    asked: list[str] = []

    def fetch(url: str) -> bytes | None:
        asked.append(url)
        held = told.get(url.split("/")[2].split(":")[0])
        return None if held is None else gateway_stats.write(held)

    gateways = Gateways(host="gateways", port=3000, fetch=fetch, resolve=lambda host, port: ["a", "b", "c"])
    gateways.awaited = {"c": -100.0}  # it never said anything
    whole = gateways.stats()
    assert whole is not None and sorted(asked) == [f"http://{one}:3000/-/stats" for one in "abc"]
    release = whole.of(FIRST.id)
    assert release is not None and (release.live.requests, release.live.errors, release.since) == (
        150,
        3,
        10.0,
    )
    assert release.live.latency == {30: 150} and release.lots == {"x-0": 11.0, "x-10": 10.0, "x-20": 20.0}
    assert [(one.at, one.live.requests) for one in release.seconds] == [(999, 150)]
    assert release.window(1000.0)[0].requests == 150
    told["a"] = stats_of(900.0, 901.0, 7, 1)  # it began anew
    del told["b"]
    whole = gateways.stats()
    again = None if whole is None else whole.of(FIRST.id)
    assert again is not None and (again.live.requests, again.live.errors) == (157, 4)
    told.clear()
    assert gateways.stats() is None


def test_what_the_sum_says_is_no_matter_of_how_many_gateways_there_were() -> None:
    alone = merged([stats_of(1.0, 10.0, 100, 3)])
    assert alone == stats_of(1.0, 10.0, 100, 3)
    gateways = Gateways(
        host="g",
        port=1,
        fetch=lambda url: gateway_stats.write(stats_of(next(begun), 1.0, 1, 0)),
        resolve=lambda host, port: ["a"],
    )
    begun = iter(float(number) for number in range(2 * REMEMBERED))
    for _ in range(2 * REMEMBERED):
        gateways.stats()
    assert len(gateways.heard) == REMEMBERED


def stats_of(began: float, since: float, requests: int, errors: int) -> Stats:
    def live() -> Counts:
        return Counts(requests=requests, errors=errors, latency={30: requests})

    told = Told(
        release=FIRST.id, bento=FIRST.tag, epoch=1, stage="champion", since=since, live=live(),
        seconds=[Second(at=999, live=live())], lots={"x-0": since + 1, f"x-{since:.0f}": since},
    )  # fmt: skip
    return Stats(now=1000.0, began=began, epoch=1, use_case="shop", shed=1, releases=[told])


def test_a_name_that_nobody_knows_has_no_gateways() -> None:
    gateways = Gateways(host="nobody.invalid", port=1, fetch=lambda url: b"{}")
    routes = routes_of(BEFORE, {FIRST.id: "http://x:1"}, None)
    assert gateways.stats() is None and not gateways.taken(routes)
    assert addresses("localhost", 1) and all(one in ("127.0.0.1", "::1") for one in addresses("localhost", 1))
    deaf = Gateways(host="g", port=1, fetch=lambda url: b"[", resolve=lambda host, port: ["a"])
    assert deaf.stats() is None and not deaf.taken(routes)


KUBECTL = """
import json, os, sys
from pathlib import Path

with (Path(__file__).parent / "calls").open("a") as file:
    print(json.dumps([sys.argv[1:], sys.stdin.read()]), file=file)
if "delete" in sys.argv:
    sys.exit("Error from server (Forbidden): it may not")
print(json.dumps({"items": [{"kind": "Pod"}]}))
"""


def test_what_is_asked_of_the_cluster_and_what_it_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kubectl").write_text(f"#!{sys.executable}\n{KUBECTL}")
    (tmp_path / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    cluster = kubectl.cluster_of("here")
    assert cluster.objects() == cluster.pods("gateway") == [{"kind": "Pod"}]
    cluster.apply([{"kind": "Service"}])
    cluster.nudge("gateway", "3-abc")
    cluster.restart("service-1")
    with pytest.raises(
        UnavailableError, match=r"`kubectl delete service` failed: Error from server \(Forbidden"
    ):
        cluster.delete("service", ["a", "b"])
    calls = [orjson.loads(line) for line in (tmp_path / "calls").read_bytes().splitlines()]
    assert [words[:3] for words, _ in calls] == [
        ["-n", "here", verb] for verb in ("get", "get", "apply", "annotate", "rollout", "delete")
    ]
    assert orjson.loads(calls[2][1]) == {"apiVersion": "v1", "kind": "List", "items": [{"kind": "Service"}]}
    assert {"counterfoil/told=3-abc", "app.kubernetes.io/name=gateway"} <= set(calls[3][0])
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UnavailableError, match="is kubectl in this image"):
        cluster.objects()


def test_its_account_may_do_what_it_does_and_no_more() -> None:
    [role] = [
        one for one in yaml.safe_load_all((INFRA / "releases.yaml").read_text()) if one["kind"] == "Role"
    ]
    may = {(what, verb) for rule in role["rules"] for what in rule["resources"] for verb in rule["verbs"]}
    allowed = {"get", "list", "create", "patch", "delete"}
    for what, verbs in {
        "pods": {"get", "list", "patch"},
        **dict.fromkeys(kubectl.KINDS.split(","), allowed),
    }.items():
        assert {verb for one, verb in may if one == what} == verbs
    assert {what for what, _ in may} == {"pods", *kubectl.KINDS.split(",")}
