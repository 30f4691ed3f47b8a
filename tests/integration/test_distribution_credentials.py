"""A registry that asks for credentials on one port, and lets anyone pull on another: the real one, attacked."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import bcrypt
import pytest

from private_registry.registry.deployment import deployment
from tests.integration.pushing import MANIFEST, client, push_manifest
from tests.integration.registry_pod import RegistryPod
from tests.registries import a_registry

WRITES = [
    ("POST", "/v2/app/blobs/uploads/"),
    ("PUT", "/v2/app/manifests/v1"),
    ("PUT", "/v2/new/manifests/v1"),
    ("DELETE", "/v2/app/manifests/v1"),
    ("DELETE", f"/v2/app/blobs/sha256:{0:064x}"),
]
REQUESTS = [
    *WRITES,
    ("GET", "/v2/"),
    ("GET", "/v2/_catalog"),
    ("GET", "/v2/app/tags/list"),
    ("GET", "/v2/app/manifests/v1"),
    ("GET", f"/v2/app/blobs/sha256:{0:064x}"),
]


def hashed(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds=4)).decode()


def rewrite(path: Path, text: str) -> None:
    """In one piece, as the kubelet does it."""
    aside = path.with_name("aside")
    aside.write_text(text)
    shutil.copystat(path, aside)
    os.utime(aside)
    aside.rename(path)
    os.chown(path, 0, 65532)


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[RegistryPod]:
    """It knows one user, me, whose password is mine."""
    spec = {"tls": {"mode": "Disabled"}, "auth": {"mode": "Basic", "acknowledgePlainHTTP": True}}
    with RegistryPod(a_registry(spec), tmp_path / "pod", hashes={"me": hashed("mine")}) as pod:
        yield pod


async def test_whoever_has_one_may_do_everything(pod: RegistryPod) -> None:
    """Push, list, delete; and anyone pulls what was pushed, on the other port, at once."""
    registry = replace(pod.http, login=("me", "mine"))
    assert await registry.accepts()
    async with client(registry) as session:
        digest = await push_manifest(session, "app", "v1")
    assert await pod.pulls.manifest_digest("app", "v1") == digest
    assert await registry.catalog() == await pod.pulls.catalog() == ["app"]
    await registry.delete_manifest("app", digest)
    assert await pod.pulls.manifest_digest("app", "v1") is None


@pytest.mark.parametrize("login", [None, ("me", "yours"), ("you", "mine"), ("me", "")])
async def test_nobody_else_may_do_anything(pod: RegistryPod, login: tuple[str, str] | None) -> None:
    """Not read, not list, not push, not delete: 401, with the challenge from which clients learn to log in."""
    async with client(replace(pod.http, login=login)) as session:
        for method, path in REQUESTS:
            async with session.request(method, path, raise_for_status=False) as answer:
                assert answer.status == 401, (method, path)
                assert answer.headers["WWW-Authenticate"].startswith('Basic realm="')


async def test_the_open_side_takes_no_write(pod: RegistryPod) -> None:
    """Neither from anyone nor from whoever may push on the other side; and nothing on the volume changes."""
    async with client(replace(pod.http, login=("me", "mine"))) as session:
        digest = await push_manifest(session, "app", "v1")
        async with session.get("/v2/app/manifests/v1", headers={"Accept": MANIFEST}) as answer:
            manifest = await answer.read()
        async with session.post("/v2/app/blobs/uploads/") as begun:
            upload = begun.headers["Location"]
    before = pod.files()
    for login in (None, ("me", "mine")):
        async with client(replace(pod.pulls, login=login)) as session:
            for method, path in [
                *WRITES,
                ("PATCH", upload),
                ("PUT", f"{upload}&digest={digest}"),
                ("DELETE", upload),
                ("DELETE", f"/v2/app/manifests/{digest}"),
                ("PUT", f"/v2/app/manifests/{digest}"),
                ("POST", f"/v2/other/blobs/uploads/?mount={digest}&from=app"),
            ]:
                async with session.request(method, path, data=manifest, raise_for_status=False) as answer:
                    # It cannot read the state of an upload either, which the other side has signed.
                    assert answer.status in ((404, 405) if "_state=" in path else (405,)), (method, path)
    assert pod.files() == before
    assert await pod.pulls.manifest_digest("app", "v1") == digest


async def test_the_open_side_cannot_write_whatever_it_answers(pod: RegistryPod) -> None:
    """Its container has the volume read-only: one that was told to take writes could not."""
    built = deployment(
        a_registry({"auth": {"mode": "Basic"}}),
        image="registry",
        certificate_hash="5f",
        strategy="RollingUpdate",
    )
    _, pulls = built["spec"]["template"]["spec"]["containers"]
    assert all(mount["readOnly"] for mount in pulls["volumeMounts"])
    assert "credentials" not in [mount["name"] for mount in pulls["volumeMounts"]]


@pytest.fixture
def closed_pod(tmp_path: Path) -> Iterator[RegistryPod]:
    """Nobody pulls without a credential, and there is one, pod, that pulls only."""
    auth = {"acknowledgePlainHTTP": True, "anonymousPull": False, "pullSecret": {}}
    users = {"me": hashed("mine")}
    with RegistryPod(
        a_registry({"tls": {"mode": "Disabled"}, "auth": auth}),
        tmp_path / "pod",
        hashes=users,
        pull_hashes={**users, "pod": hashed("pods")},
    ) as pod:
        yield pod


async def test_a_credential_that_pulls_does_nothing_else(closed_pod: RegistryPod) -> None:
    """It is refused for everything where one can push, and for every write where one pulls; others are as before."""
    async with client(replace(closed_pod.http, login=("me", "mine"))) as session:
        digest = await push_manifest(session, "app", "v1")
    before = closed_pod.files()
    pulls = replace(closed_pod.pulls, login=("pod", "pods"))
    assert await pulls.manifest_digest("app", "v1") == digest
    writes = [*WRITES, ("DELETE", f"/v2/app/manifests/{digest}"), ("POST", "/v2/other/blobs/uploads/?mount=x&from=app")]
    for door, login, requests, status in (
        (closed_pod.http, ("pod", "pods"), [*REQUESTS, *writes], 401),
        (closed_pod.pulls, ("pod", "pods"), writes, 405),
        (closed_pod.pulls, ("me", "mine"), writes, 405),
        (closed_pod.pulls, ("pod", "mine"), [*REQUESTS, *writes], 401),
        (closed_pod.pulls, None, [*REQUESTS, *writes], 401),
    ):
        async with client(replace(door, login=login)) as session:
            for method, path in requests:
                async with session.request(method, path, raise_for_status=False) as answer:
                    assert answer.status == status, (door.port, login, method, path)
    assert closed_pod.files() == before
    assert await replace(closed_pod.pulls, login=("me", "mine")).manifest_digest("app", "v1") == digest


async def test_a_user_comes_and_goes_without_a_restart(pod: RegistryPod) -> None:
    """The registry reads its users again when they have changed, whatever it is doing."""
    assert pod.htpasswd
    other = replace(pod.http, login=("other", "x"))
    assert not await other.accepts()
    rewrite(pod.htpasswd, f"me:{hashed('mine')}\nother:{hashed('x')}\n")
    assert await other.accepts()
    assert await replace(pod.http, login=("me", "mine")).accepts()
    rewrite(pod.htpasswd, f"me:{hashed('mine')}\n")
    assert not await other.accepts()


async def test_no_password_is_logged(pod: RegistryPod) -> None:
    """Neither a right nor a wrong one."""
    for login in (("me", "mine"), ("me", "not-at-all-mine"), ("you", "not-at-all-mine")):
        await replace(pod.http, login=login).accepts()
    assert "mine" not in pod.process.log.read_text()
