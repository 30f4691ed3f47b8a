"""The one door to a registry's HTTP API: what it says of itself, asked the way its clients reach it.

A registry runs whatever image its owner names, so its answers are hostile input: redirects are not followed, links
only within the registry, and every call has a deadline.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import aiohttp
from yarl import URL

PROBE_REPOSITORY = "privateregistry/probe"
"""A repository that nobody has; nothing is ever pushed to it."""
ABSENT_DIGEST = f"sha256:{0:064x}"
"""A digest that no content has."""
ABSENT_TAG = "absent"
"""A tag that nothing of that repository has."""

_MANIFEST_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_MAX_PAGES = 10_000
_PAGE = 1000
"""Names asked for at once; the registry gives no more than that of its catalog."""
_MAX_DOCUMENT = 4 * 1024 * 1024
"""Bytes of a manifest or of a configuration; distribution takes no larger manifest."""


class RegistryError(Exception):
    """The registry did not do what it was asked; the message says what came back, `status` the HTTP code (0: none)."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Answer:
    """Whether the registry does what was asked about, and if not, what it does instead."""

    yes: bool
    message: str = ""


@dataclass(frozen=True)
class Registry:
    """A registry at an address. TLS is verified against `server_name`, or the address where that is empty."""

    address: str
    port: int
    scheme: Literal["http", "https"]
    ca_bundle: str = field(default="", repr=False)
    """PEM; empty: the roots of this machine."""
    server_name: str = ""
    login: tuple[str, str] | None = field(default=None, repr=False)
    """User name and password, where they are needed."""
    deadline: float = 5.0
    """Seconds, for each request."""
    session: aiohttp.ClientSession | None = field(default=None, repr=False, compare=False)
    """Of its connections, where they are kept; see `connected`."""

    @classmethod
    def at(cls, url: str, server_name: str = "") -> Self:
        """The registry at a URL of scheme, address and port. Raises ValueError."""
        found = URL(url)
        if found.scheme not in {"http", "https"} or not found.host or not found.port:
            raise ValueError(f"{url!r} is not the URL of a registry")
        return cls(found.host, found.port, "https" if found.scheme == "https" else "http", server_name=server_name)

    @property
    def url(self) -> str:
        return str(self._origin)

    @asynccontextmanager
    async def connected(self, at_once: int) -> AsyncIterator[Self]:
        """The same registry over connections that are kept, no more than so many."""
        async with aiohttp.ClientSession(connector=self._connector(at_once)) as session:
            yield replace(self, session=session)

    @property
    def authorization(self) -> dict[str, str]:
        """The header of who logs in."""
        return {"Authorization": aiohttp.encode_basic_auth(*self.login)} if self.login else {}

    async def serves(self) -> Answer:
        """Whether `/v2/` answers, with or without asking for credentials."""
        return await self._expect("GET", "/v2/", 200, 401)

    async def is_open(self) -> Answer:
        """Whether `/v2/` answers without asking for credentials."""
        return await self._expect("GET", "/v2/", 200)

    async def accepts(self) -> bool:
        """Whether it lets in whoever logs in so. Raises RegistryError."""
        async with self._ask("GET", "/v2/") as response:
            if response.status not in {200, 401}:
                raise RegistryError(_unexpected(response), response.status)
            return response.status == 200

    async def deletion_enabled(self) -> bool:
        """Whether manifests can be deleted, found by deleting one that cannot exist. Raises RegistryError."""
        return await self._deletes(ABSENT_DIGEST)

    async def tag_deletion_enabled(self) -> bool:
        """Whether tags can be deleted, in the same way: of some versions they can be while manifests cannot
        (CVE-2026-41888). Raises RegistryError.
        """
        return await self._deletes(ABSENT_TAG)

    async def _deletes(self, reference: str) -> bool:
        async with self._ask("DELETE", f"/v2/{PROBE_REPOSITORY}/manifests/{reference}") as response:
            if response.status not in {404, 405}:
                raise RegistryError(_unexpected(response), response.status)
            return response.status == 404

    async def writable(self) -> Answer:
        """Whether the registry can write to its storage, found by beginning an upload.

        It is not cancelled: what a cancelled upload leaves behind stays for ever, what one that was only begun leaves
        is removed by the registry's own purge after a week.
        """
        return await self._expect("POST", f"/v2/{PROBE_REPOSITORY}/blobs/uploads/", 202)

    async def catalog(self) -> list[str]:
        """The names of all repositories. Raises RegistryError."""
        return await self._list(f"/v2/_catalog?n={_PAGE}", "repositories")

    async def tags(self, repository: str) -> list[str]:
        """The tags of a repository; none where its last one was deleted. Raises RegistryError (404: no such one)."""
        return await self._list(f"/v2/{repository}/tags/list?n={_PAGE}", "tags")

    async def manifest_digest(self, repository: str, reference: str) -> str | None:
        """The digest that a tag or digest stands for; None when there is no such manifest. Raises RegistryError."""
        headers = {"Accept": ", ".join(_MANIFEST_TYPES)}
        async with self._ask("HEAD", f"/v2/{repository}/manifests/{reference}", headers=headers) as response:
            if response.status == 404:
                return None
            if response.status != 200:
                raise RegistryError(_unexpected(response), response.status)
            return response.headers["Docker-Content-Digest"]

    async def manifest(self, repository: str, reference: str) -> tuple[str, bytes] | None:
        """The digest that a tag or digest stands for, and the manifest; None without one. Raises RegistryError."""
        headers = {"Accept": ", ".join(_MANIFEST_TYPES)}
        async with self._ask("GET", f"/v2/{repository}/manifests/{reference}", headers=headers) as response:
            if response.status == 404:
                return None
            return response.headers["Docker-Content-Digest"], await _document(response)

    async def blob(self, repository: str, digest: str) -> bytes | None:
        """A blob that is a document; None when there is no such one. Raises RegistryError, also for a large one."""
        async with self._ask("GET", f"/v2/{repository}/blobs/{digest}") as response:
            return None if response.status == 404 else await _document(response)

    async def delete_manifest(self, repository: str, reference: str) -> None:
        """Delete a tag, or by its digest a manifest and with it every tag of it.

        Raises RegistryError (404: there is none, 405: deletion is off).
        """
        async with self._ask("DELETE", f"/v2/{repository}/manifests/{reference}") as response:
            if response.status != 202:
                raise RegistryError(_unexpected(response), response.status)

    async def _expect(self, method: str, path: str, *statuses: int) -> Answer:
        try:
            async with self._ask(method, path) as response:
                yes = response.status in statuses
                return Answer(yes=yes, message="" if yes else _unexpected(response))
        except RegistryError as error:
            return Answer(yes=False, message=str(error))

    async def _list(self, path: str, what: str) -> list[str]:
        found: list[str] = []
        for _ in range(_MAX_PAGES):
            async with self._ask("GET", path) as response:
                if response.status != 200:
                    raise RegistryError(_unexpected(response), response.status)
                body: dict[str, Any] = await response.json()
                found += body.get(what) or []
                following = response.links.get("next")
            if following is None:
                return found
            path = str(following["url"])
        raise RegistryError(f"{self._origin}: the list of {what} has no end")

    @property
    def _origin(self) -> URL:
        return URL.build(scheme=self.scheme, host=self.address, port=self.port)

    def _url(self, path: str) -> URL:
        """`path` on this registry; of an absolute URL that the registry gave, its path."""
        given = URL(path, encoded=True)
        return self._origin.join(given.relative() if given.absolute else given)

    @asynccontextmanager
    async def _ask(
        self, method: str, path: str, headers: dict[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        timeout = aiohttp.ClientTimeout(total=self.deadline)
        try:
            async with AsyncExitStack() as stack:
                if (session := self.session) is None:
                    session = await stack.enter_async_context(aiohttp.ClientSession(connector=self._connector()))
                yield await stack.enter_async_context(
                    session.request(
                        method,
                        self._url(path),
                        headers={**(headers or {}), **self.authorization},
                        allow_redirects=False,
                        server_hostname=self.server_name or None,
                        timeout=timeout,
                    )
                )
        except TimeoutError:
            raise RegistryError(f"{self._origin}: no answer within {self.deadline:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise RegistryError(f"{self._origin}: {error or type(error).__name__}") from error

    def _connector(self, at_once: int = 1) -> aiohttp.TCPConnector:
        if self.scheme == "http":
            return aiohttp.TCPConnector(limit=at_once)
        context = ssl.create_default_context(cadata=self.ca_bundle or None)
        # As the nodes do: what is trusted ends the path, root or not, and a certificate needs no more than to verify.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return aiohttp.TCPConnector(ssl=context, limit=at_once)


async def _document(response: aiohttp.ClientResponse) -> bytes:
    """The body of an answer. Raises RegistryError for another answer than 200, and for one that is too large."""
    if response.status != 200:
        raise RegistryError(_unexpected(response), response.status)
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > _MAX_DOCUMENT:
            raise RegistryError(f"{response.method} {response.url} answered more than {_MAX_DOCUMENT} bytes")
    return bytes(content)


def _unexpected(response: aiohttp.ClientResponse) -> str:
    return f"{response.method} {response.url} answered {response.status} {response.reason}"
