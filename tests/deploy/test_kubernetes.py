"""The manifests, rendered as `kubectl apply -k` would and validated offline."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from typing import Any

import pytest

from peer.key_files import read_key_ring
from tests.deploy.pages import DEPLOY, environment_of, understood

OVERLAYS = ["base", "overlays/small", "overlays/monitored"]
DEFINED_ELSEWHERE = {"ServiceMonitor"}  # by the Prometheus operator


@functools.cache
def rendered(overlay: str) -> tuple[dict[str, Any], ...]:
    """All objects of an overlay. Skips where nothing can render or read them."""
    yaml = pytest.importorskip("yaml", reason="needs PyYAML")
    if shutil.which("kubectl") is None:
        pytest.skip("needs kubectl")
    folder = str(DEPLOY / "kubernetes" / overlay)
    told = subprocess.run(["kubectl", "kustomize", folder], check=False, capture_output=True, text=True)  # noqa: S607  (wherever it is)
    assert told.returncode == 0, told.stderr
    assert told.stderr == "", "a warning: something deprecated"
    return tuple(yaml.safe_load_all(told.stdout))


def one(overlay: str, kind: str, name: str = "hyperpush") -> dict[str, Any]:
    (found,) = [
        thing for thing in rendered(overlay) if (thing["kind"], thing["metadata"]["name"]) == (kind, name)
    ]
    return found


def agent(overlay: str) -> dict[str, Any]:
    (found,) = one(overlay, "StatefulSet")["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("version", ["1.32", "1.34"])
def test_every_object_is_of_its_schema(overlay: str, version: str) -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate")
    known = [thing for thing in rendered(overlay) if thing["kind"] not in DEFINED_ELSEWHERE]
    for thing in known:
        validate.validate(thing, version, strict=True)
    with pytest.raises(validate.ValidationError):
        validate.validate({**known[-1], "spec": {"nonsense": 1}}, version, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_has_a_shard_of_its_own_and_no_shard_is_left_over(overlay: str) -> None:
    """As many shards as replicas, by one number; and every option is one that `hyperpush run` takes."""
    spec = one(overlay, "StatefulSet")["spec"]
    first, count = spec["ordinals"]["start"], spec["replicas"]
    container = agent(overlay)
    (index,) = [variable for variable in container["env"] if variable["name"] == "POD_INDEX"]
    label = index["valueFrom"]["fieldRef"]["fieldPath"]
    assert label == "metadata.labels['apps.kubernetes.io/pod-index']"
    command, *arguments = container["args"]
    assert command == "run"
    shards = [
        understood(environment_of(container, POD_INDEX=str(number)), *arguments).shard
        for number in range(first, first + count)
    ]
    assert shards == [f"{number}/{count}" for number in range(1, count + 1)]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_agents_find_each_other_before_they_are_ready(overlay: str) -> None:
    service, spec = one(overlay, "Service"), one(overlay, "StatefulSet")["spec"]
    found = understood(environment_of(agent(overlay), POD_INDEX="1"))
    assert found.dns == [service["metadata"]["name"]]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert spec["serviceName"] == service["metadata"]["name"]
    assert spec["podManagementPolicy"] == "Parallel"
    labels = spec["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    ports = {port["name"]: port["containerPort"] for port in agent(overlay)["ports"]}
    assert ports == {"peers": 7700, "admin": 7701}
    assert found.admin.endswith(":7701")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_network_policy_lets_agents_ask_for_names(overlay: str) -> None:
    """Found while it was written: a label added to all selectors was asked of the cluster's DNS, too."""
    egress = one(overlay, "NetworkPolicy")["spec"]["egress"]
    (to_names,) = [rule for rule in egress if any(port["port"] == 53 for port in rule["ports"])]
    (names,) = to_names["to"]
    assert names["podSelector"] == {"matchLabels": {"k8s-app": "kube-dns"}}
    assert {port["protocol"] for port in to_names["ports"]} == {"TCP", "UDP"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_pod_has_no_rights_and_writes_only_to_volumes(overlay: str) -> None:
    pod = one(overlay, "StatefulSet")["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    container = agent(overlay)
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    user = re.search(r"^USER (\d+):", (DEPLOY / "container" / "Containerfile").read_text(), re.MULTILINE)
    assert user is not None
    assert pod["securityContext"]["runAsUser"] == int(user[1]), "as in the image"
    writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    found = understood(environment_of(container, POD_INDEX="1"))
    assert writable == {str(found.state.parent), "/tmp"}  # noqa: S108  (of the container)
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert container["resources"]["limits"].keys() == {"memory"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_probes_ask_what_they_mean(overlay: str) -> None:
    container = agent(overlay)
    asked = {
        name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")
    }
    assert asked == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_secrets_are_named_and_not_in_the_repository(overlay: str) -> None:
    assert not [thing for thing in rendered(overlay) if thing["kind"] == "Secret"]
    pod = one(overlay, "StatefulSet")["spec"]["template"]["spec"]
    names = {volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume}
    assert names == {"hyperpush-swarm", "hyperpush-admin"}
    page = (DEPLOY / "kubernetes" / "README.md").read_text(encoding="utf-8")
    found = understood(environment_of(agent(overlay), POD_INDEX="1"))
    for name, file in (("hyperpush-swarm", found.key.name), ("hyperpush-admin", found.admin_token.name)):
        assert re.search(rf"create secret generic {name} \S*\s*--from-(file|literal)={file}", page), name


def test_nothing_that_is_kept_here_is_a_key() -> None:
    for path in DEPLOY.rglob("*"):
        if path.is_file():
            with pytest.raises(ValueError, match="key"):
                read_key_ring(path)


def test_the_one_that_is_monitored_is_found_by_the_operator() -> None:
    monitor, service = one("overlays/monitored", "ServiceMonitor"), one("overlays/monitored", "Service")
    labels = service["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert labels[monitor["spec"]["jobLabel"]] == "hyperpush", "the job of the alerts"
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    credentials = endpoint["authorization"]["credentials"]
    found = understood(environment_of(agent("overlays/monitored"), POD_INDEX="1"))
    assert credentials == {"name": "hyperpush-admin", "key": found.admin_token.name}
    dashboard = one("overlays/monitored", "ConfigMap", "hyperpush-dashboard")
    assert dashboard["metadata"]["labels"] == {"grafana_dashboard": "1"}
    text = (DEPLOY / "grafana" / "hyperpush.json").read_text(encoding="utf-8")
    assert dashboard["data"] == {"hyperpush.json": text}
