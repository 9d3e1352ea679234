"""The release table as Kubernetes objects: a Deployment, a Service and a release pointer per bento, and the gateway's routes.

The same table and the same routes as on one machine, and pods that follow their pointer as processes do there: a bento that comes
to another stage keeps its pods. Who applies these (flows/cluster/) sends people to a release when all its pods answer as that.
What does not change with releases lies in infra/kubernetes/.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from bentos.release import FILE as POINTER
from bentos.routes import FILE as ROUTES
from bentos.routes import Routes
from counterfoil.errors import InputError, UnknownError
from counterfoil.settings import answerers_for
from counterfoil.types import Release
from flows.place import Place, open_place
from flows.supervisor.keeper import routes_of
from flows.supervisor.making import case_of
from flows.supervisor.services import name_of
from flows.supervisor.wanted import Wanted, wanted

Part = Literal["all", "services", "routes"]
HOME = "/var/lib/counterfoil"
TOLD = "/etc/counterfoil/release"
PORT = 3010
COLLECTOR = "http://collector:3009"
USER = 10_001
NAMESPACE = "counterfoil"
PART_OF = "app.kubernetes.io/part-of=counterfoil"
COMPONENT = (
    "app.kubernetes.io/component",
    "release",
)  # by which the follower finds those that nobody needs any more
LEAVING_SECONDS = 5  # that a pod still answers when it is to end: who asks learns that later


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """How much of a cluster each bento takes. `replicas` of the champion, and of its spare; a challenger has one."""

    image: str
    replicas: int = 2
    cpu: str = "1"
    memory: str = "2Gi"


def cores(cpu: str) -> int:
    """Return how many whole cores a quantity of Kubernetes (`2`, `1500m`) is, at least one. InputError when it is none."""
    try:
        found = float(cpu.removesuffix("m")) / (1000 if cpu.endswith("m") else 1)
    except ValueError:
        raise InputError(f"{cpu!r} is no amount of processor; say 2, or 1500m") from None
    return max(1, math.ceil(found))


def manifests(place: Place, use_case: str, scale: Scale, part: Part = "all") -> list[dict[str, Any]]:
    """Return the objects of a use case's active releases. UnknownError when nothing was ever released."""
    case = case_of(use_case)
    table = wanted(place, use_case, None if case is None else case.rollout)
    if table is None:
        raise UnknownError(f"nothing serves for {use_case} yet; promote something first")
    return rendered(table, scale, part)


def rendered(
    table: Wanted, scale: Scale, part: Part = "all", *, busy: frozenset[str] = frozenset()
) -> list[dict[str, Any]]:
    """Return the objects of what a release table says is to run; of `busy` bentos as many pods as of the champion."""
    if not scale.image:
        raise InputError("--image is empty; name the image that infra/image/Dockerfile makes")
    services = [made for release in table.releases for made in _service(release, table, scale, busy)]
    routes = [config_of(_routes(table))]
    return {"all": [*services, *routes], "services": services, "routes": routes}[part]


def config_of(routes: Routes) -> dict[str, Any]:
    """Return the ConfigMap by which gateways have their routes."""
    return _config("routes", ROUTES, orjson.dumps(asdict(routes)))


def url_of(release: Release) -> str:
    """Return where a release's Service is reached within the cluster."""
    return f"http://{name_of(release.tag)}:{PORT}"


def _routes(table: Wanted) -> Routes:
    urls = {release.id: url_of(release) for release in table.releases}
    return routes_of(table, urls, COLLECTOR)


def _service(release: Release, table: Wanted, scale: Scale, busy: frozenset[str]) -> list[dict[str, Any]]:
    name = name_of(release.tag)
    labels = {
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/part-of": "counterfoil",
        COMPONENT[0]: COMPONENT[1],
    }
    pointer = orjson.dumps({"release": release.id, "epoch": release.epoch, "bento": release.tag})
    told = f"{name}-release"
    challenges = (
        table.challenger is not None and release.id == table.challenger.id and release.tag not in busy
    )
    replicas = 1 if challenges else scale.replicas
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _named(name, labels),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 2,
            "selector": {"matchLabels": {"app.kubernetes.io/name": name}},
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {"metadata": {"labels": labels}, "spec": _pod(told, release, scale)},
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _named(name, labels),
        "spec": {
            "selector": {"app.kubernetes.io/name": name},
            "ports": [{"name": "http", "port": PORT, "targetPort": "http"}],
        },
    }
    return [_config(told, POINTER, pointer, labels), deployment, service]


def _pod(told: str, release: Release, scale: Scale) -> dict[str, Any]:
    bento = f"{HOME}/bentoml/bentos/{release.tag.replace(':', '/')}"
    command = ["python", "-m", "bentos.serve", "--bento", bento, "--release-file", f"{TOLD}/{POINTER}"]
    return {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 30,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "service",
                "image": scale.image,
                "command": [*command, "--host", "0.0.0.0", "--port", str(PORT)],
                "envFrom": [{"secretRef": {"name": "counterfoil"}}],
                "env": [
                    {"name": "COUNTERFOIL_HOME", "value": HOME},
                    # a node's cores are no measure of a pod; its online store is Redis
                    {
                        "name": "COUNTERFOIL_ANSWERERS",
                        "value": str(answerers_for(cores(scale.cpu), waits=True)),
                    },
                ],
                "ports": [{"name": "http", "containerPort": PORT}],
                "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(LEAVING_SECONDS)]}}},
                "startupProbe": {**_probe("/readyz"), "periodSeconds": 1, "failureThreshold": 120},
                "readinessProbe": {**_probe("/readyz"), "periodSeconds": 2},
                "livenessProbe": {**_probe("/livez"), "periodSeconds": 10, "failureThreshold": 3},
                "terminationMessagePolicy": "FallbackToLogsOnError",  # its last words, for whoever asks why
                "resources": {
                    "requests": {"cpu": scale.cpu, "memory": scale.memory},
                    "limits": {"memory": scale.memory},
                },
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [
                    {"name": "home", "mountPath": HOME},
                    {  # the file alone: rules.json lies beside it in the home
                        "name": "run",
                        "mountPath": f"{HOME}/run/token",
                        "subPath": "token",
                        "readOnly": True,
                    },
                    {"name": "release", "mountPath": TOLD, "readOnly": True},
                    {"name": "tmp", "mountPath": "/tmp"},
                ],
            }
        ],
        "volumes": [
            {"name": "home", "persistentVolumeClaim": {"claimName": "counterfoil-home"}},
            {"name": "run", "secret": {"secretName": "counterfoil-token", "defaultMode": 0o440}},
            {"name": "release", "configMap": {"name": told}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }


def _probe(path: str) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": "http"}, "timeoutSeconds": 2}


def _config(name: str, file: str, content: bytes, labels: dict[str, str] | None = None) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _named(name, labels or {"app.kubernetes.io/part-of": "counterfoil"}),
        "data": {file: content.decode()},
    }


def _named(name: str, labels: dict[str, str]) -> dict[str, Any]:
    return {"name": name, "namespace": NAMESPACE, "labels": labels}


def text(objects: Sequence[dict[str, Any]]) -> str:
    """Return objects as one YAML stream."""
    import yaml

    return str(yaml.safe_dump_all(objects, sort_keys=False, width=1000))


def write_here(use_case: str, scale: Scale, part: Part, to: Path | None) -> dict[str, Any]:
    """Render the releases of the installation that the settings name; into a file, or to be shown."""
    objects = manifests(open_place(), use_case, scale, part)
    if to is not None:
        to.write_text(text(objects))
    return {"objects": objects, "file": None if to is None else str(to)}


def show(told: dict[str, Any]) -> None:
    """Write the YAML to standard output, for `kubectl apply -f -`; where it went into a file, say so."""
    sys.stdout.write(text(told["objects"]) if told["file"] is None else f"{told['file']} written\n")
