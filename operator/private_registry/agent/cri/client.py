"""Asks a container runtime, over the socket that the kubelet uses too."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc
import grpc.aio

from private_registry.agent.cri import runtime_pb2 as api

_ANSWER_WITHIN = 10.0
# Before containerd 2.0 an address that nobody answers costs 30 s.
_PULL_WITHIN = 45.0
_PULLS_AT_ONCE = 64
# A runtime that restarts is asked again at once, not after gRPC's usual two minutes.
_OPTIONS = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 1000))


class RuntimeUnavailableError(Exception):
    """The runtime does not answer, or does not speak the CRI; the message is its own."""


@dataclass(frozen=True)
class Answer:
    """How a call ended: the name of its gRPC status code, and the details."""

    code: str
    details: str


class Cri:
    """A connection to one runtime; an async context manager."""

    def __init__(self, socket: Path) -> None:
        self._channel = grpc.aio.insecure_channel(f"unix://{socket}", options=_OPTIONS)
        self._pulls = asyncio.Semaphore(_PULLS_AT_ONCE)
        self._version = self._channel.unary_unary(
            "/runtime.v1.RuntimeService/Version",
            request_serializer=api.VersionRequest.SerializeToString,
            response_deserializer=api.VersionResponse.FromString,
        )
        self._status = self._channel.unary_unary(
            "/runtime.v1.RuntimeService/Status",
            request_serializer=api.StatusRequest.SerializeToString,
            response_deserializer=api.StatusResponse.FromString,
        )
        self._pull = self._channel.unary_unary(
            "/runtime.v1.ImageService/PullImage",
            request_serializer=api.PullImageRequest.SerializeToString,
            response_deserializer=api.PullImageResponse.FromString,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._channel.close()

    async def version(self) -> tuple[str, str]:
        """Name and version of the runtime. Raises RuntimeUnavailableError."""
        try:
            answer = await self._version(api.VersionRequest(), timeout=_ANSWER_WITHIN)
        except grpc.aio.AioRpcError as error:
            raise RuntimeUnavailableError(_text(error)) from None
        return answer.runtime_name, answer.runtime_version

    async def info(self) -> Mapping[str, str]:
        """What the runtime tells of itself. Raises RuntimeUnavailableError."""
        try:
            answer = await self._status(api.StatusRequest(verbose=True), timeout=_ANSWER_WITHIN)
        except grpc.aio.AioRpcError as error:
            raise RuntimeUnavailableError(_text(error)) from None
        return answer.info

    async def pull(self, image: str) -> Answer:
        """Have an image pulled, without credentials, and say how that ended."""
        request = api.PullImageRequest(image=api.ImageSpec(image=image))
        try:
            async with self._pulls:
                await self._pull(request, timeout=_PULL_WITHIN)
        except grpc.aio.AioRpcError as error:
            return Answer(error.code().name, error.details() or "")
        return Answer(grpc.StatusCode.OK.name, "")


def _text(error: grpc.aio.AioRpcError) -> str:
    return f"{error.code().name}: {error.details()}"
