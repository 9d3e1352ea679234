"""What the follower does to a cluster, as a value: each function is one call of `kubectl`, by the pod's own account."""

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from counterfoil.errors import UnavailableError
from flows.manifests import NAMESPACE, PART_OF

CALL_SECONDS = 60.0
KINDS = "deployments,services,configmaps"
NUDGE = "counterfoil/told"
Object = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """The effects. Each raises UnavailableError with what `kubectl` said when it failed.

    `objects` gives Deployments, Services and ConfigMaps of this installation, `pods` those of a name. `nudge` marks a name's
    pods: what they have mounted is then brought up to date at once, not within a minute or two. `restart` replaces the pods of a
    Deployment one by one.
    """

    objects: Callable[[], list[Object]]
    pods: Callable[[str], list[Object]]
    apply: Callable[[Sequence[Object]], object]
    delete: Callable[[str, Sequence[str]], object]
    restart: Callable[[str], object]
    nudge: Callable[[str, str], object]
    clock: Callable[[], float] = time.monotonic


def cluster_of(namespace: str = NAMESPACE) -> Cluster:
    """Return the effects on the cluster that `kubectl` finds."""

    def call(*words: str, given: bytes | None = None) -> bytes:
        return kubectl("-n", namespace, *words, given=given)

    return Cluster(
        objects=lambda: _items(call("get", KINDS, "-l", PART_OF, "-o", "json")),
        pods=lambda name: _items(call("get", "pods", "-l", f"app.kubernetes.io/name={name}", "-o", "json")),
        apply=lambda objects: call("apply", "-f", "-", given=listed(objects)),
        delete=lambda kind, names: call("delete", kind, *names, "--ignore-not-found", "--wait=false"),
        restart=lambda name: call("rollout", "restart", "deployment", name),
        nudge=lambda name, mark: call(
            "annotate", "pods", "-l", f"app.kubernetes.io/name={name}", f"{NUDGE}={mark}", "--overwrite"
        ),
    )


def kubectl(*words: str, given: bytes | None = None) -> bytes:
    """Run `kubectl`; returns what it wrote. UnavailableError when it is not there, fails, or takes more than a minute."""
    try:
        done = subprocess.run(
            ["kubectl", *words],
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            timeout=CALL_SECONDS,
        )
    except OSError as fault:
        raise UnavailableError(f"the cluster cannot be asked: {fault}; is kubectl in this image?") from fault
    except subprocess.TimeoutExpired as fault:
        raise UnavailableError(
            f"`kubectl {' '.join(words[2:4])}` did not end within {CALL_SECONDS:g} s; is the API server well?"
        ) from fault
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())[-500:]
        raise UnavailableError(f"`kubectl {' '.join(words[2:4])}` failed: {said}")
    return done.stdout


def listed(objects: Sequence[Object]) -> bytes:
    """Return objects as one list of the platform's, in JSON."""
    return orjson.dumps(
        {"apiVersion": "v1", "kind": "List", "items": list(objects)}, option=orjson.OPT_SORT_KEYS
    )


def _items(content: bytes) -> list[Object]:
    found: list[Object] = orjson.loads(content)["items"]
    return found
