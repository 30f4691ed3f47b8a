"""Pushing with nothing but HTTP, for tests whose registry is on loopback."""

import gzip
import hashlib
import io
import json
import ssl
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from private_registry.distribution import Registry

KIND = "application/vnd.oci.image"
MANIFEST = f"{KIND}.manifest.v1+json"


async def push(
    url: str, repository: str, *, login: tuple[str, str] | None = None, ca_bundle: str = "", server_name: str = ""
) -> None:
    """Put an image of one layer into the registry at `url`, as `repository:v1`.

    Its certificate is verified where there is a `ca_bundle`, for `server_name` or, without one, the address.

    No two repositories have a blob in common: whoever pulls has to fetch it.
    """
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        tar.addfile(tarfile.TarInfo(repository))
    layer = content.getvalue()
    diff_id = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [diff_id]}}
    ).encode()
    context = ssl.create_default_context(cadata=ca_bundle) if ca_bundle else ssl._create_unverified_context()
    # A connection kept for the next request can be closed by a registry that drains at the moment the request is sent.
    # Clients that people use try again; this one does not, so that every failure counts.
    connector = aiohttp.TCPConnector(ssl=context, force_close=True)
    headers = {"Authorization": aiohttp.encode_basic_auth(*login)} if login else {}
    name = server_name or None
    async with aiohttp.ClientSession(url, connector=connector, raise_for_status=True, headers=headers) as session:
        blobs = []
        for media_type, blob in (
            (f"{KIND}.config.v1+json", config),
            (f"{KIND}.layer.v1.tar+gzip", gzip.compress(layer)),
        ):
            digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
            blobs.append({"mediaType": media_type, "digest": digest, "size": len(blob)})
            async with session.post(f"/v2/{repository}/blobs/uploads/", server_hostname=name) as begun:
                location = begun.headers["Location"]
            await session.put(location, params={"digest": digest}, data=blob, server_hostname=name)
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": blobs[0], "layers": blobs[1:]}
        typed = {"Content-Type": MANIFEST}
        path = f"/v2/{repository}/manifests/v1"
        await session.put(path, data=json.dumps(manifest), headers=typed, server_hostname=name)


@asynccontextmanager
async def client(
    registry: Registry, *middlewares: aiohttp.ClientMiddlewareType, patience: float = 30
) -> AsyncIterator[aiohttp.ClientSession]:
    """A client that pushes, which the operator never does. `patience`: the seconds that a request may take."""
    async with aiohttp.ClientSession(
        registry.url,
        connector=registry._connector(100),
        timeout=aiohttp.ClientTimeout(total=patience),
        raise_for_status=True,
        headers=registry.authorization,
        middlewares=middlewares,
    ) as session:
        yield session


async def push_blob(session: aiohttp.ClientSession, repository: str, content: bytes, *, patched: bool = False) -> str:
    """Push a blob; its digest. `patched`: sent first and named then, as Docker does."""
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    async with session.post(f"/v2/{repository}/blobs/uploads/") as begun:
        location = begun.headers["Location"]
    if patched:
        async with session.patch(location, data=io.BytesIO(content)) as sent:
            location = sent.headers["Location"]
    rest = b"" if patched else io.BytesIO(content)
    async with session.put(location, params={"digest": digest}, data=rest):
        return digest


async def push_manifest(session: aiohttp.ClientSession, repository: str, tag: str) -> str:
    """Push an image with a configuration and no layer; the digest of its manifest."""
    config = json.dumps({"tag": tag}).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": await push_blob(session, repository, config),
            "size": len(config),
        },
        "layers": [],
    }
    headers = {"Content-Type": str(manifest["mediaType"])}
    body = json.dumps(manifest).encode()
    async with session.put(f"/v2/{repository}/manifests/{tag}", data=body, headers=headers) as put:
        return put.headers["Docker-Content-Digest"]
