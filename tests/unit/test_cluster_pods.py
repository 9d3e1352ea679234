"""What a cluster's pods say: whether a release is rolled out, and what keeps it from it."""

from pathlib import Path
from typing import Any

import pytest

from flows.cluster.pods import Pods, rolled_out
from flows.supervisor.services import Trouble, name_of
from tests.small_cluster import Small
from tests.unit.test_supervisor import CANARY


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
