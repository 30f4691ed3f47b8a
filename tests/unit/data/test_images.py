"""Which images of a registry the objects of a cluster use."""

from typing import Any

import pytest

from private_registry.data.images import Names, Reference, Revisions, of_pod, of_template, references, templates

NAMES = Names(
    frozenset(["team.registries.svc:5000", "10.96.0.7:5000", "[fd00::7]:5000", "r.example.com"]), frozenset([30500])
)
DIGEST, OTHER = f"sha256:{1:064x}", f"sha256:{2:064x}"
HOST = "team.registries.svc:5000"


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (f"{HOST}/app:v1", [Reference("app", tag="v1")]),
        (f"{HOST}/app", [Reference("app", tag="latest")]),
        (f"{HOST}/a/b/c@{DIGEST}", [Reference("a/b/c", digest=DIGEST)]),
        (f"{HOST}/app:v1@{DIGEST}", [Reference("app", tag="v1"), Reference("app", digest=DIGEST)]),
        (f"docker-pullable://{HOST}/app@{DIGEST}", [Reference("app", digest=DIGEST)]),
        ("TEAM.registries.svc:5000/app:v1", [Reference("app", tag="v1")]),
        ("10.96.0.7:5000/app:v1", [Reference("app", tag="v1")]),
        ("[fd00::7]:5000/app:v1", [Reference("app", tag="v1")]),
        ("r.example.com/app:v1", [Reference("app", tag="v1")]),
        ("192.0.2.9:30500/app:v1", [Reference("app", tag="v1")]),
        ("team.registries.svc:5001/app:v1", []),
        ("team.registries.svc/app:v1", []),
        ("docker.io/library/app:v1", []),
        ("app:v1", []),
        ("", []),
        (f"{HOST}/app@sha256:short", []),
    ],
)
def test_an_image_is_of_the_registry_by_its_host(image: str, found: list[Reference]) -> None:
    """By every name that nodes know it by, whatever the repository is called."""
    assert list(references(image, NAMES)) == found


def test_a_pod_uses_what_all_of_its_containers_do() -> None:
    """Init containers, those for debugging, and images that are volumes, too."""
    spec = {
        "initContainers": [{"name": "a", "image": f"{HOST}/init:1"}],
        "containers": [{"name": "b", "image": f"{HOST}/main:1"}, {"name": "c", "image": "busybox"}],
        "ephemeralContainers": [{"name": "d", "image": f"{HOST}/debug:1"}],
        "volumes": [{"name": "v", "image": {"reference": f"{HOST}/data:1"}}, {"name": "w", "emptyDir": {}}],
    }
    assert {each.repository for each in of_pod({"spec": spec}, NAMES)} == {"init", "main", "debug", "data"}
    assert {each.repository for each in of_template({"spec": spec}, NAMES)} == {"init", "main", "debug", "data"}


@pytest.mark.parametrize(
    ("asked", "shown", "ran"),
    [
        (f"{HOST}/app:v1", f"{HOST}/app:v1", f"{HOST}/app@{DIGEST}"),
        (f"{HOST}/app:v1", "mirror.example.com/x:v1", f"mirror.example.com/x@{DIGEST}"),
        (f"{HOST}/app:v1", DIGEST, DIGEST),
        ("registry.local/app:v1", f"{HOST}/app:v1", f"docker://{DIGEST}"),
        ("registry.local/app:v1", "registry.local/app:v1", f"{HOST}/app@{DIGEST}"),
    ],
)
def test_the_digest_that_runs_is_used(asked: str, shown: str, ran: str) -> None:
    """A tag may have moved since; and a runtime may tell the same content by another name that it has of it."""
    pod = {
        "spec": {"containers": [{"name": "b", "image": asked}]},
        "status": {"containerStatuses": [{"name": "b", "image": shown, "imageID": ran}]},
    }
    assert Reference("app", digest=DIGEST) in set(of_pod(pod, NAMES))


def test_what_other_registries_run_is_not_listed() -> None:
    """The list is for whoever may read the registry's namespace."""
    pod = {
        "spec": {"containers": [{"name": "b", "image": "nginx"}]},
        "status": {"containerStatuses": [{"name": "b", "image": "docker.io/library/nginx:latest", "imageID": DIGEST}]},
    }
    assert list(of_pod(pod, NAMES)) == []


def a_spec(tag: str) -> dict[str, Any]:
    return {"template": {"spec": {"containers": [{"name": "b", "image": f"{HOST}/app:{tag}"}]}}}


def test_the_template_of_every_workload_is_found() -> None:
    """A CronJob's is one deeper, and a ControllerRevision holds a part of its workload."""
    workloads = [
        {"spec": a_spec("1")},
        {"spec": {"jobTemplate": {"spec": a_spec("2")}}},
        {"data": {"spec": a_spec("3")}},
    ]
    found = [
        each for workload in workloads for template in templates(workload) for each in of_template(template, NAMES)
    ]
    assert [each.tag for each in found] == ["1", "2", "3"]
    assert list(templates({"data": {"some": "thing"}})) == []


def a_revision(number: int, owner: str = "web", **more: Any) -> dict[str, Any]:
    about = {"uid": f"{owner}-{number}", "ownerReferences": [{"uid": owner, "controller": True}]}
    return {"metadata": {**about, **more}, "spec": a_spec(f"{owner}{number}")}


def test_two_revisions_of_each_workload_are_used() -> None:
    """What runs and what a rollback goes to, in whatever order they are listed; what is older is not used."""
    annotation = "deployment.kubernetes.io/revision"
    revisions = Revisions()
    for number in (9, 11, 3, 10):
        revisions.add(a_revision(number, annotations={annotation: str(number)}), NAMES)
        controlled = {**a_revision(number, "db"), "revision": number}
        revisions.add({**controlled, "data": {"spec": controlled.pop("spec")}}, NAMES)
    assert {each.tag for each in revisions.used()} == {"web11", "web10", "db11", "db10"}


def test_revisions_without_a_number_are_told_apart_by_their_age() -> None:
    """Of a controller that is not Kubernetes' own."""
    revisions = Revisions()
    for day in (1, 3, 2):
        revisions.add(a_revision(day, creationTimestamp=f"2026-11-0{day}T00:00:00Z"), NAMES)
    assert {each.tag for each in revisions.used()} == {"web3", "web2"}


def test_a_replica_set_of_nobody_is_used() -> None:
    """It is a workload itself."""
    revisions = Revisions()
    for number in (1, 2, 3):
        alone = a_revision(number)
        revisions.add({**alone, "metadata": {"uid": str(number)}}, NAMES)
    assert len(set(revisions.used())) == 3
