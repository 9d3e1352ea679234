"""The pods of releases: whether they answer as what they are to, and what keeps them from it."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from counterfoil.errors import UnavailableError
from counterfoil.types import Release
from flows.cluster.gateways import Fetch, host_of
from flows.cluster.kubectl import Cluster, Object
from flows.manifests import PORT
from flows.supervisor.services import STEADY_SECONDS, Trouble, name_of
from flows.supervisor.world import object_of

log = logging.getLogger(__name__)
FOLLOW_SECONDS = 60.0  # in which pods take a new pointer; bentos of earlier versions never do
LAST_WORDS = 500  # characters of a container's last line that are logged
OVER = ("Failed", "Succeeded")  # phases of a pod that nobody counts any more


@dataclass(kw_only=True)
class Pods:
    """What is known of pods. `warm` asks one a few questions as a shadow, and says whether they were answered."""

    cluster: Cluster
    fetch: Fetch
    warm: Callable[[str], bool]
    heard: dict[str, tuple[str, int]] = field(
        default_factory=dict
    )  # by bento: the release told, as of which generation
    behind: dict[str, float] = field(
        default_factory=dict
    )  # releases whose pods answer as another, and since when
    late: dict[str, str] = field(default_factory=dict)  # what is to say of pods that run, by release
    warmed: set[str] = field(default_factory=set)
    falls: dict[tuple[str, str], tuple[int, int]] = field(
        default_factory=dict
    )  # of a container: all, and those in a row
    refused: dict[str, Trouble] = field(default_factory=dict)  # by the name of a Deployment

    def ready(self, release: Release, deployment: Object | None, *, back: bool = False) -> bool:
        """Say whether a release is rolled out, and all its pods answer, as it; hurry those that answer as another.

        Where people go `back` to it, one pod that does is enough: the others may come when they can. Bentos of earlier versions
        never take a new pointer: their pods are replaced. What says nothing is left to the platform's own probes.
        """
        self.late.pop(release.id, None)
        whole = rolled_out(deployment)
        if deployment is None or not (whole or (back and available(deployment))):
            return False
        state = (release.id, deployment["metadata"]["generation"])
        if (
            whole and self.heard.get(release.tag) == state
        ):  # pods that come later begin with the pointer that lies there
            return True
        pods = [pod for pod in living(self.cluster.pods(name_of(release.tag))) if _is_ready(pod)]
        told = [self._tells(pod) for pod in pods]
        self._hurry(release, {one for one in told if one not in (None, release.id)})
        if pods and set(told) == {release.id}:
            if all(self._is_warm(pod) for pod in pods):
                if whole:
                    self.heard[release.tag] = state
                return True
            self.late[release.id] = "its pods do not answer a question"
        elif None in told:
            self.late[release.id] = "its pods do not say what they answer as: may this pod reach them?"
        return False

    def trouble(self, release: Release, deployment: Object | None) -> Trouble | None:
        """Return what keeps a release from being ready, None when nothing is known to."""
        name = name_of(release.tag)
        if name in self.refused:
            return self.refused[name]
        for one in () if deployment is None else deployment.get("status", {}).get("conditions", ()):
            if (
                one["type"] == "ReplicaFailure" and one["status"] == "True"
            ):  # a quota, a policy: there is no pod to ask
                return Trouble(said=f"{name} has no pods: {one.get('message', one.get('reason', ''))}")
        found = self.trouble_of(self.cluster.pods(name))
        late = self.late.get(release.id)
        return Trouble(said=late) if found is None and late else found

    def trouble_of(self, pods: Iterable[Object]) -> Trouble | None:
        """Return what keeps a Deployment's newest pods from being ready: the one that began most often. None: nothing says it.

        `times` counts beginnings in a row, the one that is under way among them.
        """
        newest = _newest(living(pods))
        told = [trouble for pod in newest for trouble in self._said_of(pod) if not _is_ready(pod)]
        return max(told, key=lambda one: one.times, default=None)

    def keep_to(self, releases: Sequence[Release]) -> None:
        """Forget what was known of others: a bento that is released again begins anew."""
        names, tags = {one.id for one in releases}, {one.tag for one in releases}
        for known in (self.behind, self.late):
            for name in known.keys() - names:
                del known[name]
        for tag in self.heard.keys() - tags:
            del self.heard[tag]
        for name in self.refused.keys() - {name_of(tag) for tag in tags}:
            del self.refused[name]

    def _hurry(self, release: Release, others: set[str | None]) -> None:
        name, now = name_of(release.tag), self.cluster.clock()
        if not others:
            self.behind.pop(release.id, None)
            return
        nudge(self.cluster, name, release.id)
        if now - self.behind.setdefault(release.id, now) > FOLLOW_SECONDS:
            log.warning("%s does not take the pointer to %s: its pods are replaced", name, release.id)
            self.cluster.restart(name)
            self.behind[release.id] = now

    def _tells(self, pod: Object) -> str | None:
        url = _url_of(pod)
        told = object_of(self.fetch(f"{url}/readyz")) if url else None
        return None if told is None else told.get("release")

    def _is_warm(self, pod: Object) -> bool:
        uid = pod["metadata"]["uid"]
        if uid not in self.warmed and self.warm(_url_of(pod)):
            self.warmed.add(uid)
        return uid in self.warmed

    def _said_of(self, pod: Object) -> Iterable[Trouble]:
        name, state = pod["metadata"]["name"], pod.get("status", {})
        for one in state.get("conditions", ()):
            if one["type"] == "PodScheduled" and one["status"] == "False":
                yield Trouble(said=f"{name} has no node: {one.get('message', one.get('reason', ''))}")
        begun = [one for one in state.get("initContainerStatuses", ()) if not _is_done(one)]
        for one in (*begun, *state.get("containerStatuses", ())):
            ended, waits = _ended(one), one.get("state", {}).get("waiting") or {}
            if ended:
                why = f"exit code {ended['exitCode']} ({ended.get('reason', 'no reason given')})"
                said = f"{name} ended with {why}; look at `kubectl logs {name} --previous`"
                yield Trouble(times=self._in_a_row(pod, one, ended) + 1, said=said)
            elif waits.get("message"):  # its image is not there, its secret is not, ...
                yield Trouble(said=f"{name}: {waits.get('reason')}: {waits['message']}")

    def _in_a_row(self, pod: Object, container: Object, ended: Object) -> int:
        """Return how often a container ended in a row, which a steady run ends. The platform counts for a pod's whole life."""
        key, count = (pod["metadata"]["uid"], container["name"]), container["restartCount"]
        all_seen, row = self.falls.get(key, (0, 0))
        if key not in self.falls or count > all_seen:
            row = 1 if _ran_seconds(ended) >= STEADY_SECONDS else row + count - all_seen
            self.falls[key] = (count, row)
            words = str(ended.get("message", "")).strip().splitlines()[-1:]
            if words:  # said here and not in a decision, which nobody could clean: it may be anything
                log.warning("%s ended: %s", pod["metadata"]["name"], words[0][:LAST_WORDS])
        return row


def nudge(cluster: Cluster, name: str, mark: str) -> None:
    """Have what a name's pods have mounted brought up to date; where that is refused, it comes by itself."""
    try:
        cluster.nudge(name, mark)
    except UnavailableError as fault:
        log.warning("what %s has mounted is not hurried: %s", name, fault)


def rolled_out(deployment: Mapping[str, Any] | None) -> bool:
    """Say whether all pods of a Deployment, and no others, are as it says, and answer."""
    if deployment is None:
        return False
    state, wanted = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
    seen = state.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    return seen and all(
        state.get(name, 0) == wanted for name in ("replicas", "updatedReplicas", "availableReplicas")
    )


def available(deployment: Mapping[str, Any] | None) -> int:
    """Return how many pods of a Deployment answer."""
    return 0 if deployment is None else int(deployment.get("status", {}).get("availableReplicas", 0))


def living(pods: Iterable[Object]) -> list[Object]:
    """Return pods but for those that are to end, or have ended and only lie there."""
    return [
        pod
        for pod in pods
        if "deletionTimestamp" not in pod["metadata"] and pod.get("status", {}).get("phase") not in OVER
    ]


def _newest(pods: Sequence[Object]) -> list[Object]:
    """Return the pods that are as the Deployment says by now: those of before fail by what is mended already."""

    def like(pod: Object) -> str:
        return str(pod["metadata"].get("labels", {}).get("pod-template-hash", ""))

    last = max(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), default=None)
    return [] if last is None else [pod for pod in pods if like(pod) == like(last)]


def _is_ready(pod: Object) -> bool:
    told = pod.get("status", {}).get("conditions", ())
    return any(one["type"] == "Ready" and one["status"] == "True" for one in told)


def _url_of(pod: Object) -> str:
    address = pod.get("status", {}).get("podIP")
    return f"http://{host_of(address)}:{PORT}" if address else ""


def _ended(container: Object) -> Object | None:
    """Return how a container ended last."""
    ended: Object | None = container.get("state", {}).get("terminated") or container.get("lastState", {}).get(
        "terminated"
    )
    return ended


def _is_done(container: Object) -> bool:
    """Say whether a container that is to end has ended well."""
    ended = container.get("state", {}).get("terminated")
    return bool(ended) and ended["exitCode"] == 0


def _ran_seconds(ended: Object) -> float:
    with suppress(KeyError, TypeError, ValueError):
        begun, over = (datetime.fromisoformat(ended[name]) for name in ("startedAt", "finishedAt"))
        return (over - begun).total_seconds()
    return 0.0
