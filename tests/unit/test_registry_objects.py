"""What each part of a spec changes in a registry's objects, and what it leaves alone."""

import base64
import copy
from typing import Any

import pytest
import yaml

from private_registry.api import names
from private_registry.registry.claim import claim
from private_registry.registry.configuration import configuration, files
from private_registry.registry.deployment import Strategy, deployment
from private_registry.registry.image_proof import image_proof_pod
from private_registry.registry.metadata import applied_hash, template_hash
from private_registry.registry.service import service
from tests.registries import a_registry

Object = dict[str, Any]
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def a_deployment(
    spec: Object | None = None,
    *,
    strategy: Strategy = "RollingUpdate",
    image: str = "registry:3.1.1",
    certificate_hash: str = "5f",
) -> Object:
    return deployment(
        a_registry(spec),
        image=image,
        certificate_hash=certificate_hash,
        strategy=strategy,
    )


def configured(spec: Object | None = None, *, file: str = "config.yml", signs: str = "a token") -> Object:
    """What one of the registry's processes reads."""
    registry = a_registry(spec)
    text = configuration(registry, signs)["data"][files(registry)[file]]
    read: Object = yaml.safe_load(base64.b64decode(text))
    return read


def pod_of(obj: Object) -> Object:
    template: Object = obj["spec"]["template"]
    return template


def container_of(obj: Object) -> Object:
    """The one that takes pushes."""
    found: Object = pod_of(obj)["spec"]["containers"][0]
    return found


def at(obj: Any, path: str) -> Any:
    """The value at `a.b.0.c`; None where there is none."""
    for step in path.split("."):
        if isinstance(obj, list):
            obj = obj[int(step)] if int(step) < len(obj) else None
        else:
            obj = obj.get(step) if isinstance(obj, dict) else None
    return obj


class TestEachFieldHasItsPlace:
    """A field that is set is in the child; set no more, it is as if it had never been."""

    @pytest.mark.parametrize(
        ("spec", "path", "value", "otherwise"),
        [
            ({"scheduling": {"nodeSelector": {"disk": "ssd"}}}, "nodeSelector.disk", "ssd", None),
            ({"scheduling": {"tolerations": [{"operator": "Exists"}]}}, "tolerations.0.operator", "Exists", None),
            ({"scheduling": {"priorityClassName": "high"}}, "priorityClassName", "high", None),
            ({"scheduling": {"imagePullSecrets": [{"name": "mine"}]}}, "imagePullSecrets.0.name", "mine", None),
            ({"scheduling": {"affinity": {"nodeAffinity": {"x": 1}}}}, "affinity.nodeAffinity.x", 1, None),
            ({"resources": {"limits": {"cpu": 2}}}, "containers.0.resources.limits.cpu", "2", None),
            ({"resources": {"requests": {"memory": "1Gi"}}}, "containers.0.resources.requests.memory", "1Gi", "128Mi"),
            (
                {"resources": {"requests": {}}},
                "containers.0.resources.requests",
                None,
                {"cpu": "100m", "memory": "128Mi"},
            ),
            ({"storage": {"deleteEnabled": False}}, "containers.0.env.0.value", "false", "true"),
            ({"storage": {"claimName": "m"}}, "volumes.0.persistentVolumeClaim.claimName", "m", "team-data"),
            ({"tls": {"mode": "Disabled"}}, "containers.0.readinessProbe.httpGet.scheme", "HTTP", "HTTPS"),
            ({"tls": {"mode": "Disabled"}}, "volumes.1.projected.sources.1.secret.name", None, "team-certificate"),
        ],
    )
    def test_in_the_pod(self, spec: Object, path: str, value: Any, otherwise: Any) -> None:
        """Every optional field that concerns the pod is found there, and gone when it is gone."""
        assert at(pod_of(a_deployment(spec))["spec"], path) == value
        assert at(pod_of(a_deployment())["spec"], path) == otherwise

    def test_in_the_claim(self) -> None:
        """Size, class and access mode are the claim's; no class means the default class, an empty one means none."""
        made = claim(a_registry({"storage": {"size": "5Gi", "storageClassName": "", "accessMode": "ReadWriteMany"}}))
        assert made
        assert made["spec"] == {
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": "5Gi"}},
            "storageClassName": "",
        }
        smallest = claim(a_registry())
        assert smallest
        assert "storageClassName" not in smallest["spec"]

    def test_no_claim_where_one_is_brought(self) -> None:
        """A claim of someone else is mounted and never written."""
        assert claim(a_registry({"storage": {"claimName": "mine"}})) is None

    @pytest.mark.parametrize("kind", ["ClusterIP", "NodePort", "LoadBalancer"])
    def test_in_the_service(self, kind: str) -> None:
        """The Service is of the type that was asked for, and which node port it gets is the server's choice."""
        spec = service(a_registry({"service": {"type": kind}}))["spec"]
        assert spec["type"] == kind
        assert "nodePort" not in spec["ports"][0]


class TestService:
    """The Service keeps its address."""

    def test_addresses_are_asked_for_only_when_it_comes_back(self) -> None:
        """A Service that was deleted is made anew with the addresses that the nodes know, in their order."""
        assert "clusterIP" not in service(a_registry())["spec"]
        spec = service(a_registry(), cluster_ips=["10.96.12.34", "fd00::34"])["spec"]
        assert (spec["clusterIP"], spec["clusterIPs"]) == ("10.96.12.34", ["10.96.12.34", "fd00::34"])

    def test_it_leads_to_the_registry_alone(self) -> None:
        """It selects the registry's pods, and neither its image proofs nor another registry's pods."""
        wanted = service(a_registry())["spec"]["selector"].items()
        proof = image_proof_pod(a_registry(), image="registry", node_name="worker")
        other = deployment(a_registry(name="other"), image="i", certificate_hash="", strategy="Recreate")
        assert wanted <= pod_of(a_deployment())["metadata"]["labels"].items()
        assert not wanted <= proof["metadata"]["labels"].items()
        assert not wanted <= pod_of(other)["metadata"]["labels"].items()

    def test_it_leads_to_the_port_that_is_served(self) -> None:
        """Metrics and profiles are not behind the Service."""
        served = service(a_registry(), pulls=True)["spec"]["ports"]
        containers = pod_of(a_deployment())["spec"]["containers"]
        ports = {each["name"]: each["containerPort"] for container in containers for each in container["ports"]}
        assert [(ports[port["targetPort"]], port["port"]) for port in served] == [(5000, 5000), (5002, 5002)]


class TestRollout:
    """When a new pod comes, and how."""

    @pytest.mark.parametrize(
        "change",
        [
            {"image": "registry:3.2.0"},
            {"spec": {"storage": {"deleteEnabled": False}}},
            {"certificate_hash": "60"},
        ],
    )
    def test_what_the_pod_is_made_of_rolls_it(self, change: dict[str, Any]) -> None:
        """Image, configuration and certificate each bring a new pod."""
        assert pod_of(a_deployment(**change)) != pod_of(a_deployment())
        before, after = a_deployment(), a_deployment(**change)
        assert before["metadata"]["annotations"][names.TEMPLATE] != after["metadata"]["annotations"][names.TEMPLATE]

    @pytest.mark.parametrize(
        "spec",
        [
            {"storage": {"size": "1Ti"}},
            {"storage": {"reclaimPolicy": "Delete"}},
            {"service": {"type": "LoadBalancer"}},
            {"tls": {"caDistribution": {"namespaceSelector": {}}}},
            {"nodeTrust": {"enabled": False, "nodeSelector": {"a": "b"}, "additionalHosts": ["registry.example.com"]}},
        ],
    )
    def test_what_concerns_no_pod_rolls_none(self, spec: Object) -> None:
        """The volume's size, the Service and the nodes' trust change without an interruption."""
        assert a_deployment(spec) == a_deployment()
        assert files(a_registry(spec)) == files(a_registry())

    def test_the_way_of_a_rollout_is_no_reason_for_one(self) -> None:
        """Falling back to Recreate changes the strategy alone."""
        surge, recreate = a_deployment(), a_deployment(strategy="Recreate")
        assert recreate["spec"].pop("strategy") == {"type": "Recreate"}
        assert surge["spec"].pop("strategy") == {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
        }
        assert surge == recreate

    def test_a_volume_for_one_pod(self) -> None:
        """A ReadWriteOncePod volume is handed over, never shared."""
        made = a_deployment({"storage": {"accessMode": "ReadWriteOncePod"}}, strategy="RollingUpdate")
        assert made["spec"]["strategy"] == {"type": "Recreate"}

    def test_a_leaving_pod_has_the_time_that_it_needs(self) -> None:
        """The kubelet waits for the pause and for the draining, and a little more."""
        spec = pod_of(a_deployment())["spec"]
        pause = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        drain = int(configured()["http"]["draintimeout"][:-1])
        assert spec["terminationGracePeriodSeconds"] > pause + drain

    def test_plain_http_has_no_certificate(self) -> None:
        """Without TLS no certificate is mounted or remembered."""
        made = a_deployment({"tls": {"mode": "Disabled"}}, certificate_hash="")
        assert names.CERTIFICATE not in pod_of(made)["metadata"]["annotations"]
        assert "certificate" not in str(pod_of(made)["spec"]["volumes"])


class TestAffinity:
    """A new pod starts beside the last one, and the owner's own wishes stand."""

    @pytest.fixture
    def own(self) -> Object:
        (term,) = pod_of(a_deployment())["spec"]["affinity"]["podAffinity"][PREFERRED]
        found: Object = term
        return found

    def test_it_prefers_its_own_node(self, own: Object) -> None:
        """The preference is for the registry's own pods, and it is no requirement: a drained node must not hold it."""
        assert own["weight"] == 100
        assert own["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
        assert own["podAffinityTerm"]["labelSelector"]["matchLabels"].items() <= (
            pod_of(a_deployment())["metadata"]["labels"].items()
        )

    @pytest.mark.parametrize("nothing", [{}, {"podAffinity": {}}, {"podAffinity": None}])
    def test_without_wishes(self, nothing: Object, own: Object) -> None:
        """Nothing asked for, in whatever way it is spelled, leaves the preference."""
        made = pod_of(a_deployment({"scheduling": {"affinity": nothing}}))["spec"]["affinity"]
        assert made == {"podAffinity": {PREFERRED: [own]}}

    def test_beside_the_owner_s_wishes(self, own: Object) -> None:
        """Terms of the owner come first and stay as they are; the spec itself is not touched."""
        theirs = {"weight": 5, "podAffinityTerm": {"topologyKey": "zone"}}
        affinity: Object = {
            "podAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "z"}],
                PREFERRED: [theirs],
            },
            "podAntiAffinity": {PREFERRED: [theirs]},
        }
        registry = a_registry({"scheduling": {"affinity": affinity}})
        made = deployment(registry, image="i", certificate_hash="", strategy="Recreate")
        assert pod_of(made)["spec"]["affinity"] == {
            "podAffinity": {**affinity["podAffinity"], PREFERRED: [theirs, own]},
            "podAntiAffinity": affinity["podAntiAffinity"],
        }
        assert registry.spec.scheduling.affinity == affinity

    @pytest.mark.parametrize("nonsense", [{"podAffinity": "here"}, {"podAffinity": {PREFERRED: "here"}}])
    def test_nonsense_goes_to_the_api_server(self, nonsense: Object) -> None:
        """What is no affinity is passed on, so that the API server's own message comes back."""
        assert pod_of(a_deployment({"scheduling": {"affinity": nonsense}}))["spec"]["affinity"] == nonsense


class TestEnvironment:
    """The registry is configured by us and by nothing that happens to be around."""

    def test_services_of_the_namespace_do_not_configure_it(self) -> None:
        """A registry that is called `registry` would otherwise find REGISTRY_PORT and the like, and read them."""
        assert pod_of(a_deployment())["spec"]["enableServiceLinks"] is False

    def test_deletion_is_in_file_and_variable(self) -> None:
        """Whatever looks at the one or the other sees the same."""
        for enabled, word in ((True, "true"), (False, "false")):
            spec = {"storage": {"deleteEnabled": enabled}}
            file = configured(spec)
            variables = {each["name"]: each.get("value") for each in container_of(a_deployment(spec))["env"]}
            assert file["storage"]["delete"] == {"enabled": enabled}
            assert variables["REGISTRY_STORAGE_DELETE_ENABLED"] == word

    def test_what_is_read_only_refuses_writes_twice(self) -> None:
        """By its configuration, and by a volume that it could not write to; its pods say so themselves."""
        registry = a_registry().model_copy(update={"read_only": True})
        made = deployment(registry, image="i", certificate_hash="", strategy="RollingUpdate")
        assert container_of(made)["volumeMounts"][0] == {
            "name": "data",
            "mountPath": "/var/lib/registry",
            "readOnly": True,
        }
        text = configuration(registry, "a token")["data"][files(registry)["config.yml"]]
        maintenance = yaml.safe_load(base64.b64decode(text))["storage"]["maintenance"]
        assert maintenance == {"uploadpurging": {"enabled": False}, "readonly": {"enabled": True}}
        assert pod_of(made)["metadata"]["annotations"][names.READ_ONLY] == "true"
        assert names.READ_ONLY not in pod_of(a_deployment())["metadata"]["annotations"]

    def test_what_tells_of_the_volume_is_in_nobodys_way(self) -> None:
        """It has no probe that could take the pod out of its Service, leaves no sooner than the rest, and writes
        nothing; without an image for it the pod is as it was.
        """
        made = deployment(
            a_registry(), image="i", certificate_hash="5f", strategy="RollingUpdate", space_image="operator:1"
        )
        *others, space = pod_of(made)["spec"]["containers"]
        assert (space["name"], space["image"]) == ("space", "operator:1")
        assert not [field for field in space if field.endswith("Probe")]
        assert {each["lifecycle"]["preStop"]["sleep"]["seconds"] for each in (*others, space)} == {8}
        assert space["volumeMounts"] == [{"name": "data", "mountPath": "/var/lib/registry", "readOnly": True}]
        assert others == pod_of(a_deployment(image="i"))["spec"]["containers"]

    def test_a_file_is_named_by_its_content(self) -> None:
        """Another configuration has another key, and the same one has the same key for ever, whatever signs uploads."""
        on, off = (files(a_registry({"storage": {"deleteEnabled": each}})) for each in (True, False))
        assert on["config.yml"] != off["config.yml"]
        assert on["pulls.yml"] == off["pulls.yml"]
        assert configuration(a_registry(), "a")["data"].keys() == configuration(a_registry(), "b")["data"].keys()

    @pytest.mark.parametrize("signs", ["a token", 'with "quotes" and \\', "of two\nlines"])
    def test_what_signs_uploads_is_in_the_file(self, signs: str) -> None:
        """Whatever it is, it is one value, and another pod can go on with an upload; who only pulls cannot."""
        assert configured(signs=signs)["http"]["secret"] == signs
        assert "secret" not in configured(file="pulls.yml", signs=signs)["http"]

    def test_no_environment_has_a_secret(self) -> None:
        """Who sees a process reads its environment."""
        for container in pod_of(a_deployment())["spec"]["containers"]:
            assert not [each for each in container["env"] if "value" not in each]


class TestImageProof:
    """The pod that tries an image before the pod that serves has to go."""

    def test_it_asks_for_the_image_as_the_registry_would(self) -> None:
        """Same node, same image, same credentials and tolerations, and no volume that it could wait for."""
        spec = {"scheduling": {"imagePullSecrets": [{"name": "mine"}], "tolerations": [{"operator": "Exists"}]}}
        pod = image_proof_pod(a_registry(spec), image="registry:9", node_name="worker")["spec"]
        assert (pod["nodeName"], pod["containers"][0]["image"]) == ("worker", "registry:9")
        assert pod["imagePullSecrets"] == [{"name": "mine"}]
        assert pod["tolerations"] == [{"operator": "Exists"}]
        assert "volumes" not in pod
        assert pod["restartPolicy"] == "Never"

    def test_each_question_has_a_name_of_its_own(self) -> None:
        """An answer for one image or node is never taken for another's."""
        asked = {
            image_proof_pod(a_registry(), image=image, node_name=node)["metadata"]["name"]
            for image in ("registry:3", "registry:4")
            for node in ("one", "two")
        }
        assert len(asked) == 4
        assert all(name.startswith("team-image-proof-") for name in asked)


class TestHashes:
    """Two versions of an object are told apart by what they ask for."""

    def test_order_does_not_count(self) -> None:
        """The same fields in another order are the same object."""
        template = pod_of(a_deployment())
        assert template_hash(dict(reversed(template.items()))) == template_hash(template)

    def test_every_change_counts_but_the_hash_itself(self) -> None:
        """An object that carries its own hash still has it; any other change gives another."""
        obj = service(a_registry())
        stamped = copy.deepcopy(obj)
        stamped["metadata"]["annotations"] = {names.APPLIED: applied_hash(obj)}
        assert applied_hash(stamped) == applied_hash(obj)
        stamped["metadata"]["annotations"]["other"] = "annotation"
        assert applied_hash(stamped) != applied_hash(obj)
        assert applied_hash({**obj, "spec": {**obj["spec"], "type": "NodePort"}}) != applied_hash(obj)
