"""The real registry under the configuration that we give it, and what we read off it over HTTP."""

import asyncio
import hashlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from private_registry import pki
from private_registry.distribution import Registry, RegistryError
from private_registry.registry.image_proof import image_proof_pod
from tests.certificates import a_certificate, a_key, an_authority
from tests.cluster import versions
from tests.cluster.processes.process import NotReadyError, free_port, program
from tests.integration.pushing import client, push_manifest
from tests.integration.registry_pod import RegistryPod
from tests.registries import a_registry
from tests.waiting import aeventually

WEAK = "ALL:@SECLEVEL=0"
PLAIN = {"tls": {"mode": "Disabled"}, "auth": {"mode": "None"}}


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[RegistryPod]:
    """A registry that serves plain HTTP and lets manifests be deleted."""
    with RegistryPod(a_registry(PLAIN), tmp_path / "pod") as pod:
        yield pod


class TestTheConfiguration:
    """What the registry does under the file, the variables and the user that its pod has."""

    async def test_it_serves_as_a_user_without_rights(self, plain: RegistryPod) -> None:
        """The registry needs no root and no writable place but its volume, and finds nothing amiss with its file."""
        assert (await plain.http.serves()).yes
        assert plain.user_id == 65532
        assert {line["level"] for line in plain.logged()} == {"info"}

    async def test_what_was_pushed_is_listed_and_what_was_deleted_is_gone(self, plain: RegistryPod) -> None:
        """Push, list, delete: the procedure, through the registry's own API."""
        registry = plain.http
        assert await registry.catalog() == []
        async with client(registry) as session:
            digest = await push_manifest(session, "library/busybox", "v1")
        assert await registry.catalog() == ["library/busybox"]
        assert await registry.tags("library/busybox") == ["v1"]
        assert await registry.manifest_digest("library/busybox", "v1") == digest

        await registry.delete_manifest("library/busybox", digest)

        assert await registry.manifest_digest("library/busybox", "v1") is None
        assert await registry.tags("library/busybox") == []

    async def test_deletion_is_what_the_spec_says(self, plain: RegistryPod, tmp_path: Path) -> None:
        """Whether deletion is on is read off the registry itself, and holds for digests and for tags."""
        assert await plain.http.deletion_enabled() is True
        assert await plain.http.tag_deletion_enabled() is True

        with RegistryPod(a_registry({**PLAIN, "storage": {"deleteEnabled": False}}), tmp_path / "keeps") as keeps:
            assert await keeps.http.deletion_enabled() is False
            assert await keeps.http.tag_deletion_enabled() is False
            async with client(keeps.http) as session:
                digest = await push_manifest(session, "app", "v1")
                async with session.delete("/v2/app/manifests/v1", raise_for_status=False) as answer:
                    assert answer.status == 405
            with pytest.raises(RegistryError, match="405") as refused:
                await keeps.http.delete_manifest("app", digest)
            assert refused.value.status == 405
            assert await keeps.http.tags("app") == ["v1"]

    async def test_a_catalog_request_is_bounded(self, plain: RegistryPod) -> None:
        """Whoever asks for a billion names at once gets none, and the registry does not set memory aside for them."""
        before = resident(plain)
        async with client(plain.http) as session:
            for wanted in ("1000000000", "-1", "9" * 30):
                async with session.get(f"/v2/_catalog?n={wanted}", raise_for_status=False) as answer:
                    assert answer.status == 400, wanted
        assert resident(plain) < before + 64 * 2**20

    async def test_it_names_no_host_in_its_answers(self, plain: RegistryPod) -> None:
        """A push through any of its names, a port-forward or a gateway goes on where it began."""
        async with client(plain.http) as session, session.post("/v2/app/blobs/uploads/") as begun:
            assert begun.headers["Location"].startswith("/v2/app/blobs/uploads/")

    async def test_during_a_rollout_both_pods_are_one_registry(self, plain: RegistryPod, tmp_path: Path) -> None:
        """An upload that one pod began is finished by the next, and what one deletes is gone from the other."""
        content = b"first half, second half"
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        with RegistryPod(a_registry(PLAIN), tmp_path / "pod") as following:
            async with client(plain.http) as before, client(following.http) as after:
                async with before.post("/v2/app/blobs/uploads/") as begun:
                    location = begun.headers["Location"]
                async with before.patch(location, data=content[:10]) as begun:
                    location = begun.headers["Location"]
                async with after.put(location, params={"digest": digest}, data=content[10:]) as done:
                    assert done.status == 201
                pushed = await push_manifest(before, "app", "v1")
            assert await following.http.manifest_digest("app", "v1") == pushed
            await following.http.delete_manifest("app", pushed)
            assert await plain.http.manifest_digest("app", pushed) is None

    async def test_a_request_that_has_begun_ends_well(self, plain: RegistryPod) -> None:
        """A pod that is told to go finishes what it serves, and takes nothing new."""
        stopping = asyncio.Event()

        async def begun_upload() -> AsyncIterator[bytes]:
            os.kill(plain.process.pid, signal.SIGTERM)
            yield b"first half, "
            await stopping.wait()
            yield b"second half"

        async with client(plain.http) as session:
            async with session.post("/v2/app/blobs/uploads/") as begun:
                location = begun.headers["Location"]
            upload = asyncio.create_task(_patch(session, location, begun_upload()))
            await aeventually(lambda: _refuses(plain.http), within=10, what="the registry takes no new connection")
            assert not upload.done()
            stopping.set()
            assert await upload == 202
        await aeventually(lambda: _ended(plain), within=10, what="the registry has ended")

    async def test_metrics_are_apart(self, plain: RegistryPod) -> None:
        """Metrics are on a port of their own and not where clients come."""
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{plain.metrics_port}/metrics") as answer:
                assert "registry_" in await answer.text()
            async with session.get(f"http://127.0.0.1:{plain.port}/metrics") as answer:
                assert answer.status == 404

    async def test_the_probes_ask_what_is_there(self, plain: RegistryPod) -> None:
        """Readiness asks `/`, which answers without credentials and is not logged."""
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{plain.port}/") as answer:
                assert answer.status == 200
            async with session.get(f"http://127.0.0.1:{plain.port}/v2/") as answer:
                assert answer.status == 200
        await aeventually(lambda: _requests(plain), within=5, what="a request is logged")
        assert await _requests(plain) == ["/v2/"]

    async def test_it_can_write_and_is_asked_unseen(self, plain: RegistryPod) -> None:
        """Whether the volume takes a push is found out without a repository appearing, and leaves only an upload.

        The registry purges uploads that were begun and never ended; it knows their age by a file in them.
        """
        assert (await plain.http.writable()).yes
        assert await plain.http.catalog() == []
        files = plain.files()
        assert all("/privateregistry/probe/_uploads/" in file for file in files)
        assert any(file.endswith("/startedat") for file in files)

    async def test_a_volume_that_it_cannot_write(self, plain: RegistryPod) -> None:
        """A volume that the pod's user cannot write is reported with the registry's answer; it still serves."""
        plain.volume.chmod(0o755)
        answer = await plain.http.writable()
        assert not answer.yes
        assert "answered 500 Internal Server Error" in answer.message
        assert (await plain.http.serves()).yes

    def test_the_image_proof_knows_a_registry(self) -> None:
        """What the proof pod runs succeeds with a registry, at once and without configuration."""
        pod = image_proof_pod(a_registry(), image="registry", node_name="worker")
        (container,) = pod["spec"]["containers"]
        name, *arguments = container["command"]
        assert name == "registry"
        done = subprocess.run(
            [program(f"registry-{versions.REGISTRY}", "registry"), *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        assert "github.com/distribution/distribution/v3 v3.1.1" in done.stdout


def resident(pod: RegistryPod) -> int:
    """Bytes of memory that a registry's program has."""
    return int(Path(f"/proc/{pod.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def _patch(session: aiohttp.ClientSession, location: str, data: AsyncIterator[bytes]) -> int:
    # The registry asks for the data: when the first is asked for, the request has begun.
    async with session.patch(location, data=data, expect100=True) as answer:
        return answer.status


async def _refuses(registry: Registry) -> bool:
    return "Cannot connect" in (await registry.serves()).message


async def _ended(pod: RegistryPod) -> bool:
    try:
        return not pod.process.pid
    except NotReadyError:
        return True


async def _requests(pod: RegistryPod) -> list[str]:
    return [line["http.request.uri"] for line in pod.logged() if line["msg"] == "response completed"]


class TestTls:
    """The certificate that the pod was given is the one that clients verify."""

    @pytest.fixture
    def certificate(self) -> pki.Certificate:
        return a_certificate(["team.registries.svc", "127.0.0.1", "::1", "localhost"])

    @pytest.fixture
    def secured(self, tmp_path: Path, certificate: pki.Certificate) -> Iterator[RegistryPod]:
        with RegistryPod(a_registry(), tmp_path / "secured", certificate=certificate) as pod:
            yield pod

    async def test_it_is_verified_by_address_and_by_name(self, secured: RegistryPod) -> None:
        """A registry is reached at its address and verified as whichever of its names is asked for."""
        assert (await secured.http.serves()).yes
        assert (await replace(secured.http, server_name="team.registries.svc").serves()).yes
        answer = await replace(secured.http, server_name="other.registries.svc").serves()
        assert not answer.yes
        assert "certificate is not valid for 'other.registries.svc'" in answer.message

    async def test_a_certificate_that_names_no_address(self, tmp_path: Path) -> None:
        """A certificate that was brought is verified by the name that it covers."""
        brought = a_certificate(["registry.example.com"])
        registry = a_registry({"tls": {"mode": "Secret", "secretName": "brought"}})
        with RegistryPod(registry, tmp_path / "pod", certificate=brought) as pod:
            assert not (await pod.http.serves()).yes
            assert (await replace(pod.http, server_name="registry.example.com").serves()).yes

    async def test_another_ca_vouches_for_nothing(self, secured: RegistryPod) -> None:
        """Neither the roots of the machine nor another CA make the registry trusted; old and new CA together do."""
        other = a_certificate(["127.0.0.1"])
        for bundle in ("", other.ca_pem):
            answer = await replace(secured.http, ca_bundle=bundle).serves()
            assert not answer.yes
            assert "CERTIFICATE_VERIFY_FAILED" in answer.message
        overlap = pki.bundle(other.ca_pem, secured.http.ca_bundle)
        assert (await replace(secured.http, ca_bundle=overlap).serves()).yes

    async def test_the_very_certificate_vouches_for_itself(
        self, secured: RegistryPod, certificate: pki.Certificate
    ) -> None:
        """Where the nodes' own roots vouch for a certificate, we need none: we know the one that is served."""
        assert (await replace(secured.http, ca_bundle=certificate.cert_pem).serves()).yes

    async def test_a_bundle_that_is_none(self, secured: RegistryPod) -> None:
        """A broken bundle is an answer like any other, not a crash."""
        assert not (await replace(secured.http, ca_bundle="no PEM").serves()).yes

    async def test_the_wrong_scheme_is_named(self, secured: RegistryPod, plain: RegistryPod) -> None:
        """HTTP spoken to TLS and TLS spoken to HTTP are told apart from a registry that is down."""
        answer = await replace(secured.http, scheme="http").serves()
        assert "400 Bad Request" in answer.message
        answer = await replace(plain.http, scheme="https", ca_bundle=secured.http.ca_bundle).serves()
        assert not answer.yes
        assert "SSL" in answer.message

    async def test_a_ca_that_has_expired_vouches_for_nothing(self, tmp_path: Path) -> None:
        """Whoever still trusts a CA of which the time is over refuses what its key has signed, as he does a certificate
        of which it is.
        """
        now, key = datetime.now(UTC), a_key()
        over = pki.create_authority(key, serial=1, now=now - pki.AUTHORITY_LIFE - timedelta(days=1))
        good = a_certificate(["127.0.0.1"], pki.create_authority(key, serial=1, now=now))
        old = a_certificate(
            ["127.0.0.1"], an_authority(now - pki.LEAF_LIFE), now=now - pki.LEAF_LIFE - timedelta(days=1)
        )
        for made, trusted in ((good, over.cert_pem), (old, old.ca_pem)):
            with RegistryPod(a_registry(), tmp_path / ("good" if made is good else "old"), certificate=made) as pod:
                answer = await replace(pod.http, ca_bundle=trusted).serves()
                assert not answer.yes
                assert "certificate has expired" in answer.message
                if made is good:
                    assert (await pod.http.serves()).yes

    @pytest.mark.parametrize("protocol", ["tls1", "tls1_1"])
    def test_old_protocols_are_refused(self, secured: RegistryPod, protocol: str) -> None:
        """Nothing older than TLS 1.2 is spoken."""
        done = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{secured.port}", f"-{protocol}", "-cipher", WEAK],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert "alert protocol version" in done.stderr


class TestARegistryThatIsNone:
    """Answers of whatever sits at the address: an owner may name any image as a registry."""

    async def test_nobody_listens(self) -> None:
        """A refused connection is named as such."""
        answer = await Registry("127.0.0.1", free_port(), "http").serves()
        assert not answer.yes
        assert "Cannot connect to host 127.0.0.1" in answer.message

    async def test_it_never_answers(self) -> None:
        """A server that takes the connection and says nothing costs the deadline and no more."""
        async with server(b"") as port:
            answer = await Registry("127.0.0.1", port, "http", deadline=0.2).serves()
        assert answer.message == f"http://127.0.0.1:{port}: no answer within 0.2 s"

    async def test_it_sends_us_elsewhere(self) -> None:
        """A redirect is an answer, never followed."""
        async with server(response("302 Found", "Location: http://127.0.0.1:1/")) as port:
            registry = Registry("127.0.0.1", port, "http")
            answer = await registry.serves()
            with pytest.raises(RegistryError, match="302"):
                await registry.deletion_enabled()
        assert answer.message == f"GET http://127.0.0.1:{port}/v2/ answered 302 Found"

    async def test_it_is_not_http(self) -> None:
        """Bytes that are no HTTP are a reason, not a crash."""
        async with server(b"SSH-2.0-OpenSSH_9.2\r\n") as port:
            assert not (await Registry("127.0.0.1", port, "http").serves()).yes

    async def test_its_next_page_is_somewhere_else(self) -> None:
        """A list goes on at this registry, whatever host the link names."""
        elsewhere = "Link: <http://192.0.2.1:9/v2/_catalog?last=x>; rel=next"
        async with server(
            response("200 OK", elsewhere, "Content-Type: application/json", body=b'{"repositories":["x"]}'),
            response("200 OK", "Content-Type: application/json", body=b'{"repositories":["y"]}'),
        ) as port:
            assert await Registry("127.0.0.1", port, "http").catalog() == ["x", "y"]

    async def test_its_list_is_no_list(self) -> None:
        """JSON that is none is a reason, not a crash."""
        async with server(response("200 OK", "Content-Type: application/json", body=b"<html>")) as port:
            with pytest.raises(RegistryError, match=f"http://127.0.0.1:{port}: "):
                await Registry("127.0.0.1", port, "http").catalog()


async def test_a_catalog_of_many_pages(plain: RegistryPod) -> None:
    """All repositories are listed, although the registry gives a hundred at a time."""
    wanted = [f"app-{number:03}" for number in range(101)]
    async with client(plain.http) as session:
        for repository in wanted:
            await push_manifest(session, repository, "v1")
    assert await plain.http.catalog() == wanted


def response(status: str, *headers: str, body: bytes = b"") -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "Connection: close", "", ""])
    return head.encode() + body


@asynccontextmanager
async def server(*answers: bytes) -> AsyncIterator[int]:
    """A server on a port of its own that gives each connection the next of `answers`, and the last for ever."""
    left, talks = list(answers), []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.append(asyncio.current_task())
        said = left.pop(0) if len(left) > 1 else left[0]
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        if not said:
            await reader.read()
        writer.close()
        await writer.wait_closed()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]
    await asyncio.gather(*(talk for talk in talks if talk))
