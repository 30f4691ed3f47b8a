"""Run in a pod of the operator's image: pushes tiny images to a registry, as a build tool would, over its HTTP API.

    python3 - HOST REPOSITORY COUNT CA_FILE LOGIN_FILE

The images, `HOST/REPOSITORY:0` and so on, share nothing: each has a layer, a configuration and a manifest of its own,
and is a minute younger than the one before.
The files may be empty words: for plain HTTP, and for a registry that asks for no credential.
"""

import asyncio
import hashlib
import io
import json
import platform
import ssl
import sys
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urljoin

import aiohttp

OCI = "application/vnd.oci.image"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
AT_ONCE = 8
FIRST = datetime(2026, 1, 1, tzinfo=UTC)


def layer(content: bytes) -> bytes:
    """Return a file system with one file."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        about = tarfile.TarInfo("content")
        about.size = len(content)
        tar.addfile(about, io.BytesIO(content))
    return archive.getvalue()


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Pusher:
    """Pushes to one repository."""

    def __init__(self, session: aiohttp.ClientSession, host: str, repository: str, scheme: str) -> None:
        self._session = session
        self._repository = f"{scheme}://{host}/v2/{repository}"

    async def push(self, number: int) -> None:
        files = layer(f"{self._repository} {number}".encode())
        created = (FIRST + timedelta(minutes=number)).isoformat()
        system = {"architecture": ARCHITECTURES[platform.machine()], "os": "linux", "created": created}
        config = json.dumps({**system, "rootfs": {"type": "layers", "diff_ids": [digest(files)]}}).encode()
        await asyncio.gather(self._blob(files), self._blob(config))
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": self._describe(config, f"{OCI}.config.v1+json"),
            "layers": [self._describe(files, f"{OCI}.layer.v1.tar")],
        }
        headers = {"Content-Type": f"{OCI}.manifest.v1+json"}
        url = f"{self._repository}/manifests/{number}"
        async with self._session.put(url, data=json.dumps(manifest).encode(), headers=headers):
            pass

    async def _blob(self, content: bytes) -> None:
        async with self._session.post(f"{self._repository}/blobs/uploads/") as begun:
            location = urljoin(str(begun.url), begun.headers["Location"])
        joint = "&" if "?" in location else "?"
        headers = {"Content-Type": "application/octet-stream"}
        async with self._session.put(f"{location}{joint}digest={digest(content)}", data=content, headers=headers):
            pass

    @staticmethod
    def _describe(content: bytes, media_type: str) -> dict[str, object]:
        return {"mediaType": media_type, "digest": digest(content), "size": len(content)}


def login(file: str) -> dict[str, str]:
    """Return the header of whoever has the user name and the password in this file, one on each line."""
    return {"Authorization": aiohttp.encode_basic_auth(*Path(file).read_text().splitlines())} if file else {}


async def main(host: str, repository: str, count: int, ca_file: str, login_file: str) -> None:
    """Push all of them, some at a time. Raises aiohttp.ClientError for whatever the registry does not accept."""
    trusted = ssl.create_default_context(cafile=ca_file) if ca_file else None
    connector = aiohttp.TCPConnector(ssl=trusted or True, limit=AT_ONCE)
    async with aiohttp.ClientSession(connector=connector, raise_for_status=True, headers=login(login_file)) as session:
        pusher = Pusher(session, host, repository, "https" if ca_file else "http")
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> None:
            async with slots:
                await pusher.push(number)

        await asyncio.gather(*(one(number) for number in range(count)))
    print(f"pushed {count} images to {host}/{repository}")


if __name__ == "__main__":
    _, a_host, a_repository, a_count, *files = sys.argv
    asyncio.run(main(a_host, a_repository, int(a_count), *files))
