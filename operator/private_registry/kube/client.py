"""Requests to the API server: plain dicts in and out, over one aiohttp session.

kopf watches for the operator; everything else that operator and agents say to the API server goes through Kube.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import aiohttp

from private_registry.api import names
from private_registry.kube.kinds import Kind, of
from private_registry.kube.login import Credentials

Object = dict[str, Any]

FIELD_MANAGER = names.MANAGER
_DEADLINE = aiohttp.ClientTimeout(total=30, sock_connect=10)
# A watch is bounded by the server (timeoutSeconds) and by silence: bookmarks come about once a minute.
_WATCH_DEADLINE = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=150)
_BUSY_RETRIES = 4
_LONGEST_PAUSE = 5.0
"""Seconds: a server that is too busy (429) says how long to wait, and is believed up to here."""
_LINE_LIMIT = 4 * 1024 * 1024


class ApiError(Exception):
    """The API server did not do what was asked; reason and message are its own words."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class NotFoundError(ApiError):
    """404: no such object, or no such kind."""


class ConflictError(ApiError):
    """409: exists already, or changed meanwhile."""


class GoneError(ApiError):
    """410: the resource version is too old; list anew."""


class ForbiddenError(ApiError):
    """403: not allowed, by RBAC or by an admission policy."""


class UnreachableError(ApiError):
    """No answer at all."""


_ERRORS: dict[int, type[ApiError]] = {
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.CONFLICT: ConflictError,
    HTTPStatus.GONE: GoneError,
    HTTPStatus.FORBIDDEN: ForbiddenError,
}


@dataclass(frozen=True)
class Listing:
    items: list[Object]
    resource_version: str


@dataclass(frozen=True)
class WatchEvent:
    """ADDED, MODIFIED, DELETED or BOOKMARK, with the object (of a bookmark: its resource version only)."""

    type: str
    object: Object


class Kube:
    """One session with one API server; an async context manager. All calls raise ApiError."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._credentials.ssl_context(), limit=32)
        self._session = aiohttp.ClientSession(
            self._credentials.server,
            connector=connector,
            headers={"User-Agent": names.MANAGER, "Accept": "application/json"},
            read_bufsize=2**20,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session:
            await self._session.close()

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Object | None:
        """The object, or None when there is none of that name."""
        try:
            return await self._call("GET", kind.path(namespace, name))
        except NotFoundError:
            return None

    async def list(
        self, kind: Kind, namespace: str | None = None, *, labels: str | None = None, fields: str | None = None
    ) -> Listing:
        """All objects of the kind, in one namespace or in all."""
        answer = await self._call("GET", kind.path(namespace), query=_selectors(labels, fields))
        for item in (items := answer.get("items") or []):
            # The items of a list leave out what the list says of all of them.
            item.setdefault("apiVersion", kind.api_version)
            item.setdefault("kind", kind.kind)
        return Listing(items, answer["metadata"]["resourceVersion"])

    async def pages(self, kind: Kind, *, limit: int = 500) -> AsyncIterator[Listing]:
        """All objects of the kind in all namespaces, as they were at one moment, so many at a time.

        Raises GoneError where going through them took longer than the API server remembers.
        """
        query, more = {"limit": str(limit)}, True
        while more:
            answer = await self._call("GET", kind.path(), query=query)
            yield Listing(answer.get("items") or [], answer["metadata"]["resourceVersion"])
            more = bool(following := answer["metadata"].get("continue", ""))
            query = {**query, "continue": following}

    async def watch(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        resource_version: str,
        labels: str | None = None,
        fields: str | None = None,
    ) -> AsyncIterator[WatchEvent]:
        """Changes since a resource version; ends when the server ends it (a few minutes). Raises GoneError."""
        query = {
            **_selectors(labels, fields),
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": "300",
        }
        async with self._request("GET", kind.path(namespace), query=query, timeout=_WATCH_DEADLINE) as response:
            await _raise_for_status(response)
            async for line in _lines(response.content):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise _error(event["object"].get("code", 500), event["object"])
                yield WatchEvent(event["type"], event["object"])

    async def create(self, obj: Object, *, dry_run: bool = False) -> Object:
        """POST. Raises ConflictError when the name is taken."""
        kind = of(obj)
        query = {"fieldManager": FIELD_MANAGER} | ({"dryRun": "All"} if dry_run else {})
        return await self._call("POST", kind.path(obj["metadata"].get("namespace")), query=query, body=obj)

    async def apply(self, obj: Object, live: Object) -> Object:
        """Server-side apply, forced, onto exactly the object that was read: what we set before and leave out now goes.

        Raises ConflictError when the live object is another by now.
        """
        await self._own_by_apply(live)
        kind = of(obj)
        metadata = obj["metadata"]
        return await self._call(
            "PATCH",
            kind.path(metadata.get("namespace"), metadata["name"]),
            query={"fieldManager": FIELD_MANAGER, "force": "true"},
            body={**obj, "metadata": {**metadata, "uid": live["metadata"]["uid"]}},
            content_type="application/apply-patch+yaml",
        )

    async def _own_by_apply(self, live: Object) -> None:
        """Turn what create() set from "updated by us" into "applied by us".

        Without it, a field that was set at creation stays owned by that creation, and leaving it out of a later apply
        would not remove it.
        """
        fields = live["metadata"].get("managedFields") or []
        if not any(_set_by_create(entry) for entry in fields):
            return
        converted = [{**entry, "operation": "Apply"} if _set_by_create(entry) else entry for entry in fields]
        metadata = live["metadata"]
        await self.merge(
            of(live),
            metadata.get("namespace"),
            metadata["name"],
            {"metadata": {"resourceVersion": metadata["resourceVersion"], "managedFields": converted}},
        )

    async def replace(self, obj: Object) -> Object:
        """PUT; with a resourceVersion in the object it is refused (ConflictError) when that is not the live one's."""
        kind = of(obj)
        metadata = obj["metadata"]
        return await self._call("PUT", kind.path(metadata.get("namespace"), metadata["name"]), body=obj)

    async def merge(
        self, kind: Kind, namespace: str | None, name: str, body: Object, *, subresource: str | None = None
    ) -> Object:
        """JSON merge patch (RFC 7386): lists are replaced whole.

        With metadata.resourceVersion in the body it is refused (ConflictError) when that is not the live one's.
        """
        return await self._call(
            "PATCH",
            kind.path(namespace, name, subresource),
            query={"fieldManager": FIELD_MANAGER},
            body=body,
            content_type="application/merge-patch+json",
        )

    async def delete(self, obj: Object, *, propagation: str = "Background") -> bool:
        """Delete exactly this object as it was read: uid and resourceVersion are preconditions.

        False when it was gone already. Raises ConflictError when it changed meanwhile.
        """
        metadata = obj["metadata"]
        body = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": propagation,
            "preconditions": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]},
        }
        try:
            await self._call("DELETE", of(obj).path(metadata.get("namespace"), metadata["name"]), body=body)
        except NotFoundError:
            return False
        return True

    async def server_version(self) -> tuple[int, int]:
        """Major and minor of the API server, such as (1, 34)."""
        answer = await self._call("GET", "/version")
        minor = "".join(digit for digit in answer["minor"] if digit.isdigit())
        return int(answer["major"]), int(minor)

    def _request(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
        timeout: aiohttp.ClientTimeout = _DEADLINE,
    ) -> "aiohttp.client._RequestContextManager":
        if self._session is None:
            raise RuntimeError("Kube is used outside of its context")
        headers = {}
        if token := self._credentials.token():
            headers["Authorization"] = f"Bearer {token}"
        if body is not None:
            headers["Content-Type"] = content_type
        data = None if body is None else json.dumps(body).encode()
        return self._session.request(method, path, params=query, data=data, headers=headers, timeout=timeout)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Object:
        try:
            for last in (*[False] * _BUSY_RETRIES, True):
                async with self._request(method, path, query=query, body=body, content_type=content_type) as response:
                    if response.status != HTTPStatus.TOO_MANY_REQUESTS or last:
                        await _raise_for_status(response)
                        answer: Object = await response.json()
                        return answer
                    pause = min(float(response.headers.get("Retry-After", 1)), _LONGEST_PAUSE)
                await asyncio.sleep(pause)
            raise AssertionError("the last round returns or raises")
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError) as error:
            raise UnreachableError(0, "Unreachable", f"{method} {path}: {error or type(error).__name__}") from error


def _set_by_create(entry: Object) -> bool:
    ours: bool = entry["manager"] == FIELD_MANAGER and entry["operation"] == "Update" and not entry.get("subresource")
    return ours


def _selectors(labels: str | None, fields: str | None) -> dict[str, str]:
    return {key: value for key, value in (("labelSelector", labels), ("fieldSelector", fields)) if value}


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length: aiohttp's own iteration ends at its buffer's size, which a fat ConfigMap exceeds."""
    pending = b""
    async for chunk in content.iter_any():
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line
        if len(pending) > _LINE_LIMIT:
            raise ApiError(500, "TooLarge", f"a watch event of more than {_LINE_LIMIT} bytes")


async def _raise_for_status(response: aiohttp.ClientResponse) -> None:
    if response.status < HTTPStatus.BAD_REQUEST:
        return
    try:
        status = await response.json()
    except (aiohttp.ContentTypeError, ValueError):
        status = {"reason": response.reason or "", "message": (await response.text())[:500]}
    raise _error(response.status, status)


def _error(code: int, status: Object) -> ApiError:
    return _ERRORS.get(code, ApiError)(code, status.get("reason") or "", status.get("message") or "")
