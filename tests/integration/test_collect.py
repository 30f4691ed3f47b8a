"""A collection on the volume of a real registry: what can be pulled stays, the rest goes, and the catalog is true."""

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from private_registry.data.collection import Outcome
from private_registry.data.images import Reference
from private_registry.data.in_use import InUse
from private_registry.jobs.collect import collect
from tests.cluster import versions
from tests.cluster.processes.process import program
from tests.integration.pushing import client, push_blob, push_manifest
from tests.integration.registry_pod import RegistryPod
from tests.registries import a_registry

OCI = "application/vnd.oci.image"
LATER = 7200.0
"""Seconds: twice the time for which everything stays."""


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[RegistryPod]:
    with RegistryPod(a_registry({"tls": {"mode": "Disabled"}, "auth": {"mode": "None"}}), tmp_path / "pod") as pod:
        yield pod


CONFIGURATION = f"sha256:{hashlib.sha256(b'{}').hexdigest()}"


@dataclass
class Pushed:
    """Somebody who pushes what the client tools push, and remembers it."""

    session: aiohttp.ClientSession
    repository: str = "app"

    async def put(self, reference: str, kind: str, **fields: Any) -> str:
        """A manifest under a tag or, for an empty reference, under its digest alone."""
        body = json.dumps({"schemaVersion": 2, "mediaType": kind, **fields}).encode()
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        path = f"/v2/{self.repository}/manifests/{reference or digest}"
        async with self.session.put(path, data=body, headers={"Content-Type": kind}):
            return digest

    async def image(self, reference: str, content: str, **fields: Any) -> str:
        """An image of one layer."""
        layer = content.encode() * 100
        described = {"mediaType": f"{OCI}.layer.v1.tar", "size": len(layer)}
        described["digest"] = await push_blob(self.session, self.repository, layer)
        config = {"mediaType": f"{OCI}.config.v1+json", "size": 2}
        config["digest"] = await push_blob(self.session, self.repository, b"{}")
        assert config["digest"] == CONFIGURATION
        return await self.put(reference, f"{OCI}.manifest.v1+json", config=config, layers=[described], **fields)

    async def index(self, reference: str, *digests: str) -> str:
        kind = f"{OCI}.manifest.v1+json"
        parts = [{"mediaType": kind, "digest": digest, "size": 1} for digest in digests]
        return await self.put(reference, f"{OCI}.index.v1+json", manifests=parts)

    async def whole(self, reference: str) -> bool:
        """Whether it pulls, down to the last blob."""
        path = f"/v2/{self.repository}/manifests/{reference}"
        kinds = {"Accept": f"{OCI}.manifest.v1+json, {OCI}.index.v1+json"}
        async with self.session.get(path, headers=kinds, raise_for_status=False) as answer:
            if answer.status != 200:
                return False
            manifest = json.loads(await answer.read())
        for part in manifest.get("manifests", []):
            if not await self.whole(part["digest"]):
                return False
        blobs = [*manifest.get("layers", []), *([manifest["config"]] if "config" in manifest else [])]
        for blob in blobs:
            async with self.session.get(f"/v2/{self.repository}/blobs/{blob['digest']}") as answer:
                if f"sha256:{hashlib.sha256(await answer.read()).hexdigest()}" != blob["digest"]:
                    return False
        return True

    async def delete(self, digest: str) -> None:
        await self.session.delete(f"/v2/{self.repository}/manifests/{digest}")


def in_use(pod: RegistryPod, *images: Reference, minutes: float = 0) -> Path:
    """The file with what the cluster uses, so many minutes old."""
    path: Path = pod.volume.with_name("in-use.json")
    path.write_text(InUse(datetime.now(UTC) - timedelta(minutes=minutes), frozenset(images)).text())
    return path


def run(
    pod: RegistryPod,
    *used: Reference,
    delete_untagged: bool = True,
    dry_run: bool = False,
    grace: float = 3600,
) -> Outcome:
    """A collection in two hours' time."""
    told = in_use(pod, *used) if delete_untagged else None
    found = collect(pod.volume, grace=grace, delete_untagged=told, dry_run=dry_run, now=time.time() + LATER)
    assert not found.error
    return found


async def test_what_a_client_can_ask_for_stays(pod: RegistryPod) -> None:
    """By tag, in an index with its attestation, attached by tag or by subject, and what is attached to that."""
    async with client(pod.http) as session:
        pushed = Pushed(session)
        plain = await pushed.image("v1", "plain")
        amd64, arm64, attestation = [await pushed.image("", each) for each in ("amd64", "arm64", "attestation")]
        await pushed.index("multi", amd64, arm64, attestation)
        nested = await pushed.index("", await pushed.image("", "deep"))
        await pushed.index("nested", nested)
        await pushed.image(plain.replace(":", "-") + ".sig", "cosign")
        subject = {"mediaType": f"{OCI}.manifest.v1+json", "digest": amd64, "size": 1}
        sbom = await pushed.image("", "sbom", subject=subject)
        signature = await pushed.image("", "signature of the sbom", subject={**subject, "digest": sbom})
        outdated = [await pushed.image("latest", f"old {number}") for number in range(3)][:-1]
        orphan = await pushed.image("", "on nothing", subject={**subject, "digest": f"sha256:{'0' * 64}"})

        found = run(pod)
        assert found.manifests == 3
        assert found.blobs == 6, "each with its layer; the configuration is that of others, too"
        tags = ("v1", "multi", "nested", "latest", plain.replace(":", "-") + ".sig")
        for reference in (*tags, sbom, signature, attestation):
            assert await pushed.whole(reference), reference
        for digest in (*outdated, orphan):
            assert not await pushed.whole(digest)
        assert run(pod) == Outcome(), "a second one finds nothing"


async def test_space_comes_back_as_it_is_said(pod: RegistryPod) -> None:
    """What a dry run announces is what the run does, and what the volume then has less of."""
    async with client(pod.http) as session:
        pushed = Pushed(session)
        gone = await pushed.image("v1", "x" * 5000)
        await pushed.image("v2", "kept")
        await pushed.delete(gone)
        before = pod.files()
        told = run(pod, dry_run=True)
        assert pod.files() == before
        used = allocated(pod.volume)
        assert run(pod) == told
        assert told.blobs == 2
        assert told.bytes > 500_000
        assert used - allocated(pod.volume) >= told.bytes
        assert await pushed.whole("v2")


def allocated(volume: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in volume.rglob("*") if path.is_file())


async def test_untagged_ones_stay_unless_it_is_asked_for(pod: RegistryPod) -> None:
    """Whoever pulls by digest goes on pulling."""
    async with client(pod.http) as session:
        pushed = Pushed(session)
        first = await pushed.image("latest", "first")
        await pushed.image("latest", "second")
        assert run(pod, delete_untagged=False) == Outcome()
        assert await pushed.whole(first)
        assert run(pod).manifests == 1
        assert not await pushed.whole(first)


async def test_what_a_pod_uses_by_its_digest_stays(pod: RegistryPod) -> None:
    """A manifest, an index with all that is in it, or by its configuration, as Docker has it; in its repository."""
    async with client(pod.http) as session:
        app, other = Pushed(session), Pushed(session, "other")
        kept, gone = await app.image("", "kept"), await app.image("", "gone")
        platform = await app.image("", "a platform")
        index = await app.index("", platform)
        configured = Pushed(session, "configured")
        run_by_docker = await configured.image("", "any")
        elsewhere = await other.image("", "same")
        used = (
            Reference("app", digest=kept),
            Reference("app", digest=index),
            Reference("configured", digest=CONFIGURATION),
            Reference("app", digest=elsewhere),
        )
        assert run(pod, *used).manifests == 2
        for pushed, digest in ((app, kept), (app, index), (app, platform), (configured, run_by_docker)):
            assert await pushed.whole(digest)
        assert not await app.whole(gone)
        assert not await other.whole(elsewhere), "nobody uses it there"


@pytest.mark.parametrize("text", ["", "{}", '{"taken": "2026-11-26T12:00:00", "images": []}'])
async def test_without_a_list_of_what_is_used_nothing_goes(pod: RegistryPod, text: str) -> None:
    """One that cannot be read, or is old, is not the same as one that has nothing in it."""
    async with client(pod.http) as session:
        pushed = Pushed(session)
        digest = await pushed.image("", "old")
        old = in_use(pod, minutes=11)
        (unreadable := old.with_name("unreadable")).write_text(text)
        for told in (old, unreadable, old.with_name("missing")):
            found = collect(pod.volume, grace=0, delete_untagged=told, dry_run=False, now=time.time() + LATER)
            assert found.error
        assert await pushed.whole(digest)


async def test_a_push_that_is_on_its_way_stays(pod: RegistryPod) -> None:
    """Layers whose manifest is still to come, an image whose index is, and an upload in the middle: all go on after."""
    now = time.time()
    async with client(pod.http) as session:
        pushed = Pushed(session)
        part = await pushed.image("", "part of an index to come")
        layer = await push_blob(session, "other", b"a layer of a manifest to come")
        async with session.post("/v2/third/blobs/uploads/") as begun:
            upload = begun.headers["Location"]
        async with session.patch(upload, data=b"half") as answer:
            upload = answer.headers["Location"]
        found = collect(pod.volume, grace=3600, delete_untagged=in_use(pod), dry_run=False, now=now + 60)
        assert found == Outcome()

        await pushed.index("v1", part)
        assert await pushed.whole("v1")
        async with session.head(f"/v2/other/blobs/{layer}") as answer:
            assert answer.status == 200
        digest = f"sha256:{hashlib.sha256(b'half and half').hexdigest()}"
        async with session.put(upload, params={"digest": digest}, data=b" and half") as answer:
            assert answer.status == 201


async def test_empty_repositories_leave_the_catalog(pod: RegistryPod) -> None:
    """None that is in another goes with it, and one that is pushed to again comes back."""
    async with client(pod.http) as session:
        outer, inner = Pushed(session, "team"), Pushed(session, "team/app")
        for each in (outer, inner):
            await each.image("v1", each.repository)
        await outer.delete(await outer.image("v1", "team"))
        assert run(pod).repositories == 1
        assert await pod.http.catalog() == ["team/app"]
        assert await inner.whole("v1")
        await outer.image("v1", "team")
        assert await pod.http.catalog() == ["team", "team/app"]
        await inner.delete(await inner.image("v1", "team/app"))
        assert run(pod).repositories == 1
        assert await pod.http.catalog() == ["team"]


async def test_a_layer_that_another_repository_needs_stays(pod: RegistryPod) -> None:
    """Blobs are shared: what goes in one repository is whole in the other."""
    async with client(pod.http) as session:
        one, other = Pushed(session, "one"), Pushed(session, "other")
        for each in (one, other):
            digest = await each.image("v1", "the same")
        await one.delete(digest)
        assert run(pod).blobs == 0
        assert await other.whole("v1")


async def test_what_cannot_be_read_ends_it_before_anything_goes(pod: RegistryPod) -> None:
    """What a manifest needs that nobody can read is not known: it is named, and everything stays."""
    async with client(pod.http) as session:
        pushed = Pushed(session)
        await pushed.delete(await pushed.image("v0", "gone"))
        digest = await pushed.image("v1", "torn")
        (pod.volume / "docker/registry/v2/blobs/sha256" / digest[7:9] / digest[7:] / "data").write_bytes(b'{"torn')
        before = pod.files()
        found = collect(pod.volume, grace=0, delete_untagged=in_use(pod), dry_run=False, now=time.time() + LATER)
        assert found.error.startswith(f"the manifest {digest} in the repository app cannot be read (it is no JSON")
        assert pod.files() == before


async def test_a_tag_that_cannot_be_read_keeps_its_repository(pod: RegistryPod) -> None:
    """It may have led to any of the untagged ones."""
    async with client(pod.http) as session:
        pushed = Pushed(session)
        first = await pushed.image("latest", "first")
        await pushed.image("latest", "second")
        (pod.volume / "docker/registry/v2/repositories/app/_manifests/tags/latest/current/link").write_bytes(b"")
        assert run(pod).manifests == 0
        assert await pushed.whole(first)


@pytest.mark.parametrize("delete_untagged", [True, False])
async def test_it_deletes_what_distribution_itself_would(pod: RegistryPod, delete_untagged: bool) -> None:
    """The collector that comes with the registry would delete the same blobs, and finds none to delete afterwards."""
    async with client(pod.http) as session:
        for repository in ("app", "team/app"):
            pushed = Pushed(session, repository)
            for number in range(10):
                await pushed.image(f"v{number % 6}", f"{repository} {number}")
            await pushed.index("multi", await pushed.image("", f"{repository} a"))
            await pushed.delete(await pushed.image("v1", f"{repository} 7"))
    config = pod.volume.parent / "collect.yml"
    config.write_text(f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {pod.volume}}}}}\n")
    argv: list[str | Path] = [program(f"registry-{versions.REGISTRY}", "registry"), "garbage-collect", config]
    if delete_untagged:
        argv.append("--delete-untagged")
    theirs = eligible(argv)
    before = blobs(pod.volume)
    found = run(pod, delete_untagged=delete_untagged, grace=0)
    assert theirs
    assert before - blobs(pod.volume) == theirs
    assert found.blobs == len(theirs)
    assert eligible(argv) == set()


def eligible(argv: list[str | Path]) -> set[str]:
    """Blobs that distribution's own collector would delete."""
    told = subprocess.run([*argv, "--dry-run"], check=True, capture_output=True, text=True).stdout
    return {line.rpartition(" ")[2] for line in told.splitlines() if line.startswith("blob eligible")}


def blobs(volume: Path) -> set[str]:
    return {f"sha256:{path.parent.name}" for path in (volume / "docker/registry/v2/blobs").rglob("data")}


async def test_ended_anywhere_every_image_that_stays_is_whole(
    pod: RegistryPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each unlink and rmdir may be the last: images are whole, and the next run ends the same."""
    rounds, real = 0, {name: getattr(os, name) for name in ("unlink", "rmdir")}

    class Killed(BaseException):
        pass

    async with client(pod.http) as session:
        pushed = Pushed(session)
        while True:
            for number in range(3):
                await pushed.image("latest", f"{rounds} {number}")
            steps = rounds

            def counted(name: str, *args: Any, **options: Any) -> None:
                nonlocal steps
                if steps == 0:
                    raise Killed
                steps -= 1
                real[name](*args, **options)

            with monkeypatch.context() as patched:
                for name in real:
                    patched.setattr(os, name, lambda *args, _name=name, **options: counted(_name, *args, **options))
                try:
                    run(pod, grace=0)
                except Killed:
                    pass
                else:
                    break
            assert await pushed.whole("latest")
            rounds += 1
        assert rounds > 10
        assert run(pod, grace=0) == Outcome()
        assert await pushed.whole("latest")


async def test_links_are_not_followed(pod: RegistryPod, tmp_path: Path) -> None:
    """Whatever has come onto the volume: nothing outside of it is read or removed."""
    async with client(pod.http) as session:
        await push_manifest(session, "app", "v1")
    outside = tmp_path / "outside"
    (outside / "data").mkdir(parents=True)
    repositories = pod.volume / "docker/registry/v2/repositories"
    (repositories / "linked").symlink_to(outside)
    (pod.volume / "docker/registry/v2/blobs/sha256/ab").mkdir(exist_ok=True)
    (pod.volume / f"docker/registry/v2/blobs/sha256/ab/ab{'0' * 62}").symlink_to(outside)
    run(pod, grace=0)
    assert (outside / "data").is_dir()
