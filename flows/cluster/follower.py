"""One pass of the follower: services as the release table wants them, routes to those that are rolled out, an end of the rest.

Each pass looks at the cluster anew and does what is next, so that one that was cut off anywhere is finished by the next.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from bentos.routes import FILE, Routes, parse, write
from bentos.routes import read as read_routes
from counterfoil.canonical import sha256
from counterfoil.errors import CounterfoilError
from counterfoil.files import write_durably
from counterfoil.types import Release
from flows.cluster.gateways import Fetch, Gateways, host_of, object_of
from flows.cluster.kubectl import Cluster, Object, listed
from flows.manifests import COMPONENT, PORT, Scale, config_of, rendered, url_of
from flows.supervisor.keeper import TROUBLE, routes_of, without_gone
from flows.supervisor.services import Trouble, name_of
from flows.supervisor.wanted import Wanted

log = logging.getLogger(__name__)
OWN = "releases"  # the follower's Deployment, and the container in it
GATEWAYS = "gateway"  # the name of their pods
AGAIN_SECONDS = 60.0  # after which objects are applied once more, whoever changed them
DRAIN_SECONDS = 30.0  # after every gateway has left a service, until it is taken away: its requests end
UNASKED_SECONDS = (
    180.0  # the same where gateways do not say what they have taken: mounts are up to date long before
)
FOLLOW_SECONDS = 60.0  # in which pods take a new pointer; bentos of earlier versions never do
LAST_WORDS = 500  # characters of a container's last line that are told
BY = "app.kubernetes.io/name"


@dataclass(kw_only=True)
class Follower:
    """Keeps a cluster equal to what is wanted. `scale` gives how much of it each bento takes, for an image."""

    run: Path
    cluster: Cluster
    gateways: Gateways
    fetch: Fetch
    scale: Callable[[str], Scale]
    collector: str
    applied: bytes = b""
    applied_at: float = 0.0
    trouble: dict[str, Trouble] = field(default_factory=dict)  # by release, of those that are not rolled out
    behind: dict[str, float] = field(
        default_factory=dict
    )  # releases whose pods answer as another, and since when
    heard: dict[str, tuple[str, int]] = field(
        default_factory=dict
    )  # by bento: the release that its pods told, and as of what
    unneeded: dict[tuple[str, str], float] = field(default_factory=dict)  # since when, by kind and name
    said: dict[str, str] | None = None
    settled: bool = False  # nothing is under way

    def follow(self, wanted: Wanted) -> Routes | None:
        """Make one pass; returns the routes that the cluster has after it. UnavailableError when it cannot be asked."""
        self.settled = False
        seen = self.cluster.objects()
        before = routes_in(seen)
        scale = self.scale(image_of(seen))
        objects = rendered(wanted, scale, "services", busy=self._busy(before))
        seen = self._apply(objects, seen)
        ready = {one.id for one in wanted.releases if self._ready(one, _deployment(seen, one))}
        for name in self.behind.keys() - {one.id for one in wanted.releases}:
            del self.behind[name]
        self._look_at([one for one in wanted.releases if one.id not in ready])
        after = self._routes(wanted, ready, before)
        if after is not None and after != before:
            log.warning("routes of epoch %d: %s", after.epoch, after.champion.release)
            self.cluster.apply([config_of(after)])
        taken = after is not None and self._taken(after)
        waits = self._take_away(objects, seen, after, ready, wanted, taken)
        self.settled = taken and not waits and len(ready) == len(wanted.releases)
        return after

    def failed(self, release: Release) -> Trouble | None:
        """Return what keeps a release from being rolled out, None when nothing is known to."""
        return self.trouble.get(release.id)

    def answers(self) -> str | None:
        """Return the release that answers as champion, by what every gateway has taken last."""
        held = self._held()
        return None if held is None else held.champion.release

    def _held(self) -> Routes | None:
        try:
            return read_routes(self.run / FILE)
        except CounterfoilError:
            return None

    def _busy(self, before: Routes | None) -> frozenset[str]:
        """Return the bentos that answer as champion still, and so may not get fewer pods."""
        held = self._held()
        return frozenset(one.champion.bento for one in (before, held) if one is not None)

    def _apply(self, objects: Sequence[Object], seen: list[Object]) -> list[Object]:
        """Apply what is wanted where that is new, not there, or long ago; return what the cluster has then."""
        told, now = listed(objects), self.cluster.clock()
        there = {_key(one) for one in seen}
        if (
            told == self.applied
            and now - self.applied_at < AGAIN_SECONDS
            and there >= {_key(one) for one in objects}
        ):
            return seen
        self.cluster.apply(objects)
        self.applied, self.applied_at = told, now
        return self.cluster.objects()

    def _ready(self, release: Release, deployment: Object | None) -> bool:
        """Say whether a release is rolled out, and all its pods answer as it; hurry those that answer as another.

        Bentos of earlier versions never take a new pointer: their pods are replaced.
        """
        if deployment is None or not rolled_out(deployment):
            return False
        state = (release.id, deployment["metadata"]["generation"])
        if (
            self.heard.get(release.tag) == state
        ):  # pods that come later begin with the pointer that lies there
            return True
        name, now = name_of(release.tag), self.cluster.clock()
        pods = [pod for pod in self.cluster.pods(name) if "deletionTimestamp" not in pod["metadata"]]
        if pods and all(self._tells(pod) == release.id for pod in pods):
            self.heard[release.tag] = state
            self.behind.pop(release.id, None)
            return True
        self.cluster.nudge(name, release.id)
        if now - self.behind.setdefault(release.id, now) > FOLLOW_SECONDS:
            log.warning("%s does not take the pointer to %s: its pods are replaced", name, release.id)
            self.cluster.restart(name)
            self.behind[release.id] = now
        return False

    def _tells(self, pod: Object) -> str | None:
        address = pod.get("status", {}).get("podIP")
        told = object_of(self.fetch(f"http://{host_of(address)}:{PORT}/readyz")) if address else None
        return None if told is None else told.get("release")

    def _look_at(self, late: Sequence[Release]) -> None:
        """Find out what keeps releases from being rolled out, and leave it for whoever asks."""
        found = {one.id: trouble_of(self.cluster.pods(name_of(one.tag))) for one in late}
        self.trouble = {name: one for name, one in found.items() if one is not None}
        said = {name: one.said for name, one in self.trouble.items()}
        if said != self.said:
            write_durably(self.run / TROUBLE, orjson.dumps(said))
            self.said = said

    def _routes(self, wanted: Wanted, ready: set[str], before: Routes | None) -> Routes | None:
        """Return the routes as they are to be: to nobody who is not rolled out, and away from nobody before the next one is.

        A challenger whose pods are being replaced, for it comes to another stage, answers by those that there are.
        """
        champion, challenger = wanted.champion, wanted.challenger
        if champion.id not in ready:
            return None if before is None else without_gone(before, {one.tag for one in wanted.releases})
        goes_on = (
            before is not None
            and challenger is not None
            and challenger.id not in ready
            and before.champion.release == champion.id
            and before.challenger is not None
            and before.challenger.bento == challenger.tag
        )
        urls = {one.id: url_of(one) for one in wanted.releases if one.id in ready}
        return before if goes_on else routes_of(wanted, urls, self.collector)

    def _taken(self, routes: Routes) -> bool:
        """Say whether every gateway has taken the routes, and leave them for whoever asks; where not, hurry them."""
        if self.gateways.taken(routes):
            if self._held() != routes:
                write(routes, self.run / FILE)
            return True
        self.cluster.nudge(GATEWAYS, f"{routes.epoch}-{sha256(repr(routes))[:8]}")
        return False

    def _take_away(
        self,
        objects: Sequence[Object],
        seen: Sequence[Object],
        routes: Routes | None,
        ready: set[str],
        wanted: Wanted,
        taken: bool,
    ) -> bool:
        """Delete what nobody needs any more; returns whether something is still to go.

        While a bento's new pods come up, or routes lead to it, all that is its own stays.
        """
        if routes is None:
            return True
        keep = {_key(one) for one in objects}
        routed = {one.bento for one in (routes.champion, routes.challenger) if one is not None}
        late = {one.tag for one in wanted.releases if one.id not in ready}
        held = {name_of(tag) for tag in late | (routed - {one.tag for one in wanted.releases})}
        rest = {
            _key(one)
            for one in seen
            if _labels(one).get(COMPONENT[0]) == COMPONENT[1]
            and _key(one) not in keep
            and _labels(one).get(BY) not in held
        }
        now = self.cluster.clock()
        self.unneeded = {key: self.unneeded.get(key, now) for key in rest}
        patience = DRAIN_SECONDS if taken else UNASKED_SECONDS
        gone = sorted(key for key, since in self.unneeded.items() if now - since >= patience)
        for kind in sorted({kind for kind, _ in gone}):
            names = [name for one, name in gone if one == kind]
            log.warning("delete %s %s: nobody needs it", kind, ", ".join(names))
            self.cluster.delete(kind.lower(), names)
        for key in gone:
            del self.unneeded[key]
        return bool(self.unneeded)


def rolled_out(deployment: Mapping[str, Any] | None) -> bool:
    """Say whether all pods of a Deployment, and no others, are as it says, and answer."""
    if deployment is None:
        return False
    state, wanted = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
    seen = state.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    return seen and all(
        state.get(name, 0) == wanted for name in ("replicas", "updatedReplicas", "availableReplicas")
    )


def trouble_of(pods: Iterable[Mapping[str, Any]]) -> Trouble | None:
    """Return what keeps pods that are not ready from being so: the one that began most often. None when nothing is said.

    `times` counts beginnings, the one that is under way among them.
    """
    found = [trouble for pod in pods if not _is_ready(pod) for trouble in _said_of(pod)]
    return max(found, key=lambda one: one.times, default=None)


def _said_of(pod: Mapping[str, Any]) -> Iterable[Trouble]:
    name, state = pod["metadata"]["name"], pod.get("status", {})
    for one in state.get("conditions", ()):
        if one["type"] == "PodScheduled" and one["status"] == "False":
            yield Trouble(said=f"{name} has no node: {one.get('message', one.get('reason', ''))}")
    for one in (*state.get("initContainerStatuses", ()), *state.get("containerStatuses", ())):
        ended = one.get("lastState", {}).get("terminated") or one.get("state", {}).get("terminated")
        waits = one.get("state", {}).get("waiting") or {}
        if ended:
            words = str(ended.get("message", "")).strip().splitlines()[-1:]
            last = words[0][:LAST_WORDS] if words else f"look at `kubectl logs {name} --previous`"
            why = f"exit code {ended['exitCode']} ({ended.get('reason', 'no reason given')})"
            yield Trouble(times=one["restartCount"] + 1, said=f"{name} ended with {why}: {last}")
        elif waits.get("message"):  # its image is not there, its secret is not, ...
            yield Trouble(said=f"{name}: {waits.get('reason')}: {waits['message']}")


def _is_ready(pod: Mapping[str, Any]) -> bool:
    told = pod.get("status", {}).get("conditions", ())
    return any(one["type"] == "Ready" and one["status"] == "True" for one in told)


def routes_in(objects: Iterable[Object]) -> Routes | None:
    """Return the routes that a cluster has, None without any that can be read."""
    found = [one for one in objects if _key(one) == ("ConfigMap", "routes")]
    try:
        return parse(found[0]["data"][FILE].encode(), "the ConfigMap routes") if found else None
    except (CounterfoilError, KeyError) as fault:
        log.warning("the routes of the cluster are written anew: %s", fault)
        return None


def image_of(objects: Iterable[Object]) -> str:
    """Return the image of the follower's own Deployment, however it was set: that of all pods. Empty where that is not there."""
    for one in objects:
        if _key(one) == ("Deployment", OWN):
            for container in one["spec"]["template"]["spec"]["containers"]:
                if container["name"] == OWN:
                    return str(container["image"])
    return ""


def _deployment(objects: Iterable[Object], release: Release) -> Object | None:
    return next((one for one in objects if _key(one) == ("Deployment", name_of(release.tag))), None)


def _key(one: Object) -> tuple[str, str]:
    return one["kind"], one["metadata"]["name"]


def _labels(one: Object) -> Mapping[str, str]:
    labels: Mapping[str, str] = one["metadata"].get("labels", {})
    return labels
