"""A cluster for tests: objects, and controllers that roll Deployments out pod by pod. Its clock is a count of turns.

Two gateways have new routes some turns after they were applied, or soon where they were nudged.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from bentos.routes import Routes
from flows.cluster.follower import routes_in
from flows.cluster.kubectl import Cluster, Object

TURN_SECONDS = 2.0
START_TURNS = 4  # that a pod takes until it is ready
LAG_TURNS = 30  # until what is mounted is up to date by itself
NUDGED_TURNS = 2
GATEWAYS = ("10.0.0.1", "10.0.0.2")
IMAGE = "shop/counterfoil:7"


class Died(BaseException):
    """The follower was killed."""


@dataclass
class Pod:
    """A pod of a Deployment; `like` is the template it was made by."""

    name: str
    like: Any
    born: int


@dataclass
class Small:
    """The cluster. At the `deadly` effect whoever does it dies, `after` it or before. Pods of `broken` ones never get ready."""

    deadly: int = 0
    after: bool = False
    broken: set[str] = field(default_factory=set)
    turns: int = 0
    effects: int = 0
    made: int = 0
    store: dict[tuple[str, str], Object] = field(default_factory=dict)
    pods: dict[str, list[Pod]] = field(default_factory=dict)
    taken: dict[str, Routes | None] = field(default_factory=lambda: dict.fromkeys(GATEWAYS))
    changed: int = 0
    nudged: int | None = None
    silent: set[str] = field(default_factory=set)  # gateways that do not answer
    least: int = 0  # pods that must answer wherever a gateway sends people

    def __post_init__(self) -> None:
        own = {"name": "releases", "image": IMAGE}
        self.apply([_deployment("releases", 1, {"spec": {"containers": [own]}})])

    def cluster(self) -> Cluster:
        """Return the effects on it."""
        return Cluster(
            objects=lambda: copy.deepcopy(list(self.store.values())),
            pods=self.told_pods,
            apply=self.mortal(self.apply),
            delete=self.mortal(self.delete),
            nudge=self.mortal(self.nudge),
            clock=lambda: self.turns * TURN_SECONDS,
        )

    def mortal(self, effect: Callable[..., Any]) -> Callable[..., Any]:
        """Return an effect before or after which the follower may die."""

        def done(*args: Any) -> None:
            self.effects += 1
            if self.effects == self.deadly and not self.after:
                raise Died
            effect(*args)
            self.invariant()
            if self.effects == self.deadly:
                raise Died

        return done

    def apply(self, objects: Sequence[Object]) -> None:
        """Make objects as they are told."""
        for one in copy.deepcopy(list(objects)):
            key = (one["kind"], one["metadata"]["name"])
            held = self.store.get(key)
            if key == ("ConfigMap", "routes") and (held is None or held["data"] != one["data"]):
                self.changed, self.nudged = self.turns, None
            if one["kind"] == "Deployment":
                same = held is not None and held["spec"] == one["spec"]
                one["metadata"]["generation"] = (held["metadata"]["generation"] if held else 0) + (not same)
                one["status"] = {} if held is None else held["status"]
                self.pods.setdefault(key[1], [])
            self.store[key] = one

    def delete(self, kind: str, names: Sequence[str]) -> None:
        """Take objects away, and the pods of Deployments at once."""
        for name in names:
            [key] = [key for key in self.store if key == (key[0], name) and key[0].lower() == kind]
            del self.store[key]
            if kind == "deployment":
                del self.pods[name]

    def nudge(self, name: str, mark: str) -> None:
        """Have what the gateways' pods have mounted brought up to date."""
        assert name == "gateway" and mark
        self.nudged = self.turns if self.nudged is None else self.nudged

    def turn(self) -> None:
        """Let controllers and gateways do what is next."""
        self.turns += 1
        for (kind, name), one in self.store.items():
            if kind == "Deployment":
                self.roll(name, one)
        since = self.turns - self.changed
        if since >= LAG_TURNS or (self.nudged is not None and self.turns - self.nudged >= NUDGED_TURNS):
            for gateway in self.taken.keys() - self.silent:
                self.taken[gateway] = routes_in(self.store.values())
        self.invariant()

    def roll(self, name: str, one: Object) -> None:
        """Make one pod more than wanted while there are older ones, and end an older one when enough are ready."""
        like, wanted, pods = one["spec"]["template"], one["spec"]["replicas"], self.pods[name]
        new = [pod for pod in pods if pod.like == like]
        if len(new) < wanted and len(pods) < wanted + (len(new) < len(pods)):
            self.made += 1
            pods.append(Pod(f"{name}-{self.made}", like, self.turns))
            new.append(pods[-1])
        old = [pod for pod in pods if pod.like != like]
        if sum(map(self.ready, pods)) > wanted:
            pods.remove(next((pod for pod in [*old, *new] if self.ready(pod)), pods[0]))
        one["status"] = {
            "observedGeneration": one["metadata"]["generation"],
            "replicas": len(pods),
            "updatedReplicas": sum(pod.like == like for pod in pods),
            "availableReplicas": sum(map(self.ready, pods)),
        }

    def ready(self, pod: Pod) -> bool:
        """Say whether a pod answers."""
        broken = pod.name.rpartition("-")[0] in self.broken
        return not broken and self.turns - pod.born >= START_TURNS

    def told_pods(self, name: str) -> list[Object]:
        """Return pods as `kubectl` tells them; what never gets ready has ended and begun again every eight turns."""
        return [
            {
                "metadata": {"name": pod.name},
                "status": {
                    "conditions": [{"type": "Ready", "status": str(self.ready(pod))}],
                    "containerStatuses": [
                        _status((self.turns - pod.born) // 8 if name in self.broken else 0)
                    ],
                },
            }
            for pod in self.pods.get(name, [])
        ]

    def fetch(self, url: str) -> bytes | None:
        """Answer as the gateways do."""
        address = url.split("/")[2].split(":")[0]
        routes = self.taken[address]
        if address in self.silent or not url.endswith("/-/routes"):
            return None
        return b"{}" if routes is None else orjson.dumps(asdict(routes))

    def invariant(self) -> None:
        """Wherever a gateway sends people, enough pods answer, and routes lead to Services that are there."""
        for routes in (*self.taken.values(), routes_in(self.store.values())):
            for route in () if routes is None else (routes.champion, routes.challenger):
                if route is not None:
                    name = route.url.split("/")[2].split(":")[0]
                    least = self.least if route.stage == "champion" else min(1, self.least)
                    assert ("Service", name) in self.store, f"{name} is routed to, and gone"
                    assert sum(map(self.ready, self.pods[name])) >= least, f"too few pods answer at {name}"


def _deployment(name: str, replicas: int, template: Any) -> Object:
    return {
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "counterfoil"}},
        "spec": {"replicas": replicas, "template": template},
    }


def _status(restarts: int) -> Object:
    ended = {"terminated": {"exitCode": 1, "reason": "Error"}} if restarts else {}
    return {"restartCount": restarts, "lastState": ended, "state": {"running": {}}}
