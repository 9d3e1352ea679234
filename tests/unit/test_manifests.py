"""Kubernetes objects: by the platform's own schemas, hardened alike, and saying the same as the routes of one machine."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from bentos import routes
from bentos.release import pointer
from counterfoil.errors import InputError
from flows.cluster.__main__ import parser
from flows.cluster.follower import image_of
from flows.manifests import Scale, rendered, text
from flows.supervisor.services import name_of
from tests.unit.test_supervisor import CANARY, FIRST, NEW, STAGES

FOLDER = Path(__file__).resolve().parents[2] / "infra" / "kubernetes"
HOME = "/var/lib/counterfoil"
SCALE = Scale(image="shop/counterfoil:1")
VERSION = "1.31"


def static() -> list[dict[str, Any]]:
    return [
        one
        for path in sorted(FOLDER.glob("*.yaml"))
        if path.name != "kustomization.yaml"
        for one in yaml.safe_load_all(path.read_text())
    ]


def objects() -> list[Any]:
    made = [*static(), *(one for stage in STAGES for one in rendered(STAGES[stage], SCALE))]
    return [
        pytest.param(one, id=f"{one['kind']} {one['metadata']['name']} {n}") for n, one in enumerate(made)
    ]


@pytest.mark.parametrize("one", objects())
def test_every_object_is_valid_by_the_platforms_schema(one: dict[str, Any]) -> None:
    import kubernetes_validate

    kubernetes_validate.validate(one, VERSION, strict=True)


def test_a_wrong_object_is_found_by_that_schema() -> None:
    import kubernetes_validate

    [deployment] = [one for one in rendered(STAGES["canary"], SCALE) if one["kind"] == "Deployment"][:1]
    deployment["spec"]["replicas"] = "two"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSION, strict=True)


@pytest.mark.parametrize("one", [param for param in objects() if param.values[0]["kind"] == "Deployment"])
def test_every_pod_is_nobody_special(one: dict[str, Any]) -> None:
    pod = one["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 10_001
    for container in pod["containers"]:
        guard = container["securityContext"]
        assert guard["readOnlyRootFilesystem"] and not guard["allowPrivilegeEscalation"]
        assert guard["capabilities"] == {"drop": ["ALL"]} and "memory" in container["resources"]["limits"]
        if one["metadata"]["name"] != "releases":
            assert {"readinessProbe", "livenessProbe"} <= container.keys()
            assert pod["automountServiceAccountToken"] is False
        mounted = {volume["name"] for volume in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_the_release_table_is_said_as_on_one_machine(tmp_path: Path) -> None:
    made = {(one["kind"], one["metadata"]["name"]): one for one in rendered(STAGES["canary"], SCALE)}
    path = tmp_path / routes.FILE
    path.write_text(made["ConfigMap", "routes"]["data"][routes.FILE])
    table = routes.read(path)
    assert (table.epoch, table.champion.release) == (3, FIRST.id)
    assert table.challenger is not None and (table.challenger.release, table.challenger.share) == (
        CANARY.id,
        0.1,
    )
    for route, release in ((table.champion, FIRST), (table.challenger, CANARY)):
        name = name_of(release.tag)
        assert route.url == f"http://{name}:{made['Service', name]['spec']['ports'][0]['port']}"
        pointed = pointer(orjson.loads(told(made, name)["data"]["release.json"]))
        assert (pointed.release, pointed.epoch, pointed.bento) == (release.id, release.epoch, release.tag)
        command = made["Deployment", name]["spec"]["template"]["spec"]["containers"][0]["command"]
        assert f"/var/lib/counterfoil/bentoml/bentos/{release.tag.replace(':', '/')}" in command
    replicas = {key[1]: one["spec"]["replicas"] for key, one in made.items() if key[0] == "Deployment"}
    assert replicas == {name_of(FIRST.tag): 2, name_of(NEW.tag): 1}


def told(made: dict[tuple[str, str], dict[str, Any]], name: str) -> dict[str, Any]:
    """Return the ConfigMap that a Deployment's pods read their release from."""
    volumes = made["Deployment", name]["spec"]["template"]["spec"]["volumes"]
    [volume] = [one for one in volumes if one["name"] == "release"]
    return made["ConfigMap", volume["configMap"]["name"]]


def test_a_bento_that_comes_to_another_stage_keeps_its_pods_and_has_another_pointer() -> None:
    table = STAGES["canary"]
    assert table.challenger is not None
    later = replace(table.challenger, epoch=9)
    before, after = (
        {(one["kind"], one["metadata"]["name"]): one for one in rendered(stage, SCALE, "services")}
        for stage in (table, replace(table, challenger=later))
    )
    name = name_of(later.tag)
    assert before["Deployment", name] == after["Deployment", name]
    assert orjson.loads(told(before, name)["data"]["release.json"])["release"] == CANARY.id
    assert orjson.loads(told(after, name)["data"]["release.json"])["release"] == later.id
    [container] = after["Deployment", name]["spec"]["template"]["spec"]["containers"]
    [mount] = [one for one in container["volumeMounts"] if one["name"] == "release"]
    assert "subPath" not in mount, "what is mounted so never changes"


def test_who_answers_goes_on_a_while_when_it_is_to_end() -> None:
    [gateway] = [
        one for one in static() if (one["kind"], one["metadata"]["name"]) == ("Deployment", "gateway")
    ]
    made = [one for one in rendered(STAGES["canary"], SCALE) if one["kind"] == "Deployment"]
    for one in (gateway, *made):
        pod = one["spec"]["template"]["spec"]
        [command] = [each["lifecycle"]["preStop"]["exec"]["command"] for each in pod["containers"]]
        assert command[0] == "sleep" and int(command[1]) + 15 <= pod["terminationGracePeriodSeconds"]


def test_services_see_the_rules_of_the_home_and_only_they_are_the_followers_to_delete() -> None:
    made = rendered(STAGES["canary"], SCALE, "services")
    for one in made:
        assert one["metadata"]["labels"]["app.kubernetes.io/component"] == "release"
        if one["kind"] == "Deployment":
            mounts = one["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
            hidden = [mount for mount in mounts if mount["mountPath"] == "/var/lib/counterfoil/run"]
            assert not hidden, "rules.json lies in that folder of the home"
    assert not any("app.kubernetes.io/component" in one["metadata"].get("labels", {}) for one in static())


def test_parts_are_the_whole_and_the_text_is_read_back() -> None:
    whole = rendered(STAGES["with a spare"], SCALE)
    parts = [
        *rendered(STAGES["with a spare"], SCALE, "services"),
        *rendered(STAGES["with a spare"], SCALE, "routes"),
    ]
    assert whole == parts and list(yaml.safe_load_all(text(whole))) == whole
    with pytest.raises(InputError, match="--image is empty"):
        rendered(STAGES["canary"], replace(SCALE, image=""))


@pytest.mark.parametrize(
    ("cpu", "processes"), [("1", "2"), ("2", "3"), ("500m", "2"), ("2500m", "4"), ("0.5", "2"), ("64", "9")]
)
def test_a_pod_answers_by_one_process_more_than_it_asks_cores(cpu: str, processes: str) -> None:
    made = rendered(STAGES["canary"], replace(SCALE, cpu=cpu))
    [container] = next(one for one in made if one["kind"] == "Deployment")["spec"]["template"]["spec"][
        "containers"
    ]
    assert {"name": "COUNTERFOIL_ANSWERERS", "value": processes} in container["env"]


def test_an_amount_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="two cores"):
        rendered(STAGES["canary"], replace(SCALE, cpu="two cores"))


def test_the_kustomization_names_every_file() -> None:
    told = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    assert set(told["resources"]) == {path.name for path in FOLDER.iterdir()} - {"kustomization.yaml"}


def deployment(name: str) -> dict[str, Any]:
    [found] = [one for one in static() if (one["kind"], one["metadata"]["name"]) == ("Deployment", name)]
    return found


def test_mounts_below_the_home_find_their_place_made_by_who_owns_it() -> None:
    """What makes it otherwise is root, and whoever writes into `run` may not."""
    for name in ("gateway", "collector", "console", "releases"):
        pod = deployment(name)["spec"]["template"]["spec"]
        [first] = pod["initContainers"]
        assert f"mkdir -p {HOME}/run && touch {HOME}/run/token" in first["command"][2]
        assert first["volumeMounts"] == [{"name": "home", "mountPath": HOME}]
        assert first["securityContext"] == pod["containers"][0]["securityContext"]
        [run] = [one for one in pod["containers"][0]["volumeMounts"] if f"{HOME}/run" in one["mountPath"]]
        assert run["readOnly"] and (run["mountPath"] == f"{HOME}/run") == (name in ("gateway", "collector"))


def test_the_followers_command_names_what_there_is() -> None:
    """It is run with these very words; and the names by which it asks lead to what else lies in this folder."""
    [container] = deployment("releases")["spec"]["template"]["spec"]["containers"]
    assert container["command"][:3] == ["python", "-m", "flows.cluster"]
    told = parser().parse_args(container["command"][3:])
    assert (told.replicas, told.cpu, told.memory) == (2, "1", "2Gi")
    services = {one["metadata"]["name"]: one for one in static() if one["kind"] == "Service"}
    headless = services[told.gateways]["spec"]
    assert headless["clusterIP"] == "None" and headless["publishNotReadyAddresses"]
    assert headless["selector"] == services["gateway"]["spec"]["selector"]
    assert told.gateway_port == headless["ports"][0]["port"]
    assert told.collector == f"http://collector:{services['collector']['spec']['ports'][0]['port']}"


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not there")
def test_the_image_of_the_follower_is_that_of_the_pods(tmp_path: Path) -> None:
    """Said in an overlay; nothing else of the follower may say which image it is."""
    (tmp_path / "base").symlink_to(FOLDER)
    told = {"resources": ["base"], "images": [{"name": "counterfoil", "newName": "a/b", "newTag": "7"}]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(told))
    done = subprocess.run(["kubectl", "kustomize", str(tmp_path)], capture_output=True, text=True, check=True)
    made = list(yaml.safe_load_all(done.stdout))
    assert image_of(made) == "a/b:7"
    text = yaml.safe_dump_all(made)
    assert "image: counterfoil" not in text and text.count("image: a/b:7") == 8
