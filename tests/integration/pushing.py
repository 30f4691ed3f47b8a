"""Pushing an image with nothing but HTTP, for tests whose registry is on loopback."""

import gzip
import hashlib
import io
import json
import ssl
import tarfile

import aiohttp

KIND = "application/vnd.oci.image"


async def push(url: str, repository: str) -> None:
    """Put an image of one layer into the registry at `url`, as `repository:v1`. No certificate is verified.

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
    connector = aiohttp.TCPConnector(ssl=ssl._create_unverified_context())
    async with aiohttp.ClientSession(url, connector=connector, raise_for_status=True) as session:
        blobs = []
        for media_type, blob in (
            (f"{KIND}.config.v1+json", config),
            (f"{KIND}.layer.v1.tar+gzip", gzip.compress(layer)),
        ):
            digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
            blobs.append({"mediaType": media_type, "digest": digest, "size": len(blob)})
            async with session.post(f"/v2/{repository}/blobs/uploads/") as begun:
                location = begun.headers["Location"]
            await session.put(location, params={"digest": digest}, data=blob)
        manifest_type = f"{KIND}.manifest.v1+json"
        manifest = {"schemaVersion": 2, "mediaType": manifest_type, "config": blobs[0], "layers": blobs[1:]}
        headers = {"Content-Type": manifest_type}
        await session.put(f"/v2/{repository}/manifests/v1", data=json.dumps(manifest), headers=headers)
