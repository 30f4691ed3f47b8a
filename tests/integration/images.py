"""Images of random blobs, which no two have in common: pushed the ways that clients push, and looked at as a whole."""

import hashlib
import json
import random
from dataclasses import dataclass, field
from typing import Self

import aiohttp

from tests.integration.pushing import KIND, MANIFEST, push_blob

MAX_BYTES = 128 * 2**10


@dataclass(frozen=True)
class Image:
    """An image and the tag that it is pushed as."""

    repository: str
    tag: str
    blobs: tuple[bytes, ...] = field(repr=False)
    """Its configuration, then its layers."""

    @classmethod
    def made(cls, repository: str, tag: str, chance: random.Random) -> Self:
        """One of up to three layers of up to MAX_BYTES each."""
        layers = [chance.randbytes(chance.randrange(1, MAX_BYTES)) for _ in range(chance.randrange(4))]
        return cls(repository, tag, (json.dumps({"made": chance.random()}).encode(), *layers))

    @property
    def manifest(self) -> bytes:
        kinds = ("config.v1+json", *("layer.v1.tar" for _ in self.blobs[1:]))
        config, *layers = (
            {"mediaType": f"{KIND}.{kind}", "digest": digest_of(blob), "size": len(blob)}
            for kind, blob in zip(kinds, self.blobs, strict=True)
        )
        return json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}).encode()

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)

    async def push(self, session: aiohttp.ClientSession) -> None:
        """Push the blobs, each other one in two requests as Docker does, then the manifest under its tag."""
        for number, blob in enumerate(self.blobs):
            await push_blob(session, self.repository, blob, patched=number % 2 == 1)
        await self.name(session, self.tag)

    async def name(self, session: aiohttp.ClientSession, tag: str) -> None:
        """Push the manifest alone, under a tag; the blobs are there."""
        path = f"/v2/{self.repository}/manifests/{tag}"
        async with session.put(path, data=self.manifest, headers={"Content-Type": MANIFEST}) as put:
            assert put.headers["Docker-Content-Digest"] == self.digest


async def pull(session: aiohttp.ClientSession, repository: str, reference: str) -> str | None:
    """Pull a whole image by tag or digest; the digest of its manifest, None where there is none of that name.

    Raises AssertionError if a part of it is missing or is not what its digest says.
    """
    path = f"/v2/{repository}/manifests/{reference}"
    async with session.get(path, headers={"Accept": MANIFEST}, raise_for_status=False) as answer:
        if answer.status == 404:
            return None
        assert answer.status == 200, f"{repository}:{reference}: {answer.status} {await answer.text()}"
        manifest = await answer.read()
        assert answer.headers["Docker-Content-Digest"] == digest_of(manifest), f"{repository}:{reference}"
    parts = json.loads(manifest)
    for each in (parts["config"], *parts["layers"]):
        async with session.get(f"/v2/{repository}/blobs/{each['digest']}", raise_for_status=False) as answer:
            said = f"{repository}:{reference}, blob {each['digest']}: {answer.status}"
            assert answer.status == 200, said
            assert digest_of(await answer.read()) == each["digest"], said
    return digest_of(manifest)


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
