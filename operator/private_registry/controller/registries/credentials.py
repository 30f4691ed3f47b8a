"""Who may push, from the Secrets that there are: the generated credential, its replacement, and the users' own. Pure.

Salts and passwords are arguments: a hash is made once, kept in its Secret, and made again only when it does not fit any
more. A generated credential is replaced in an order in which nobody is refused: the registry knows the new one before
anybody is told of it, and the old one for a while after.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import bcrypt

from private_registry.api import names
from private_registry.api.conditions import Reason
from private_registry.api.registry import Doors, PrivateRegistry
from private_registry.controller.health.problem import Problem
from private_registry.controller.registries.certificate import Chance
from private_registry.controller.registries.observe import Observed
from private_registry.kube import kinds
from private_registry.registry.configuration import HTPASSWD
from private_registry.registry.credentials import NEXT, Credential, htpasswd_secret
from private_registry.registry.deployment import doors_of
from private_registry.trust import entry as trust

Object = dict[str, Any]

OVERLAP = 3600.0
"""Seconds for which a generated credential is still good after it was replaced: whoever has just read it goes on."""

_USERNAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}")
_GENERATED = re.compile(r"push-[0-9a-f]{8}")
_MAX_PASSWORD = 72
"""Bytes: bcrypt takes no more."""


@dataclass(frozen=True)
class Users:
    """Who may push from now on."""

    own: Credential
    """The generated one, as its Secret is to have it."""
    htpasswd: Object = field(repr=False)
    following: Credential | None = None
    """What is to replace the generated one, once the registry accepts it."""
    problems: tuple[Problem, ...] = ()
    expires: datetime | None = None
    """When the next of those that were replaced stops being good."""


@dataclass(frozen=True)
class _Before:
    """What the htpasswd Secret remembers."""

    hashes: Mapping[str, str] = field(default_factory=dict)
    following: Credential | None = None
    rotated_for: str = ""
    leaving: Mapping[str, datetime] = field(default_factory=dict)


def unacknowledged(registry: PrivateRegistry) -> Problem | None:
    """What is to be said of a registry from before the rule that passwords need TLS."""
    if registry.spec.auth.mode == "None" or registry.authenticates:
        return None
    return Problem(
        Reason.PLAIN_HTTP_NOT_ACKNOWLEDGED,
        "spec.auth: with tls.mode Disabled passwords would cross the network in the clear, so nobody is asked for one: "
        "set spec.auth.acknowledgePlainHTTP if that is meant, or spec.auth.mode None",
    )


def staged(registry: PrivateRegistry, seen: Observed, *, followed: str) -> PrivateRegistry:
    """The registry as it is to be made for now: nodes find what they need all the way.

    The port that they pull from asks for no credential before each of them pulls from the other one, and that one does
    not go before they have left it. `followed` is the hash of the entry that all of them go by.
    """
    deployment = seen.get(kinds.DEPLOYMENT, registry.name)
    published = seen.get(kinds.CONFIG_MAP, names.entry(registry.namespace, registry.name))
    if deployment is None or published is None or not registry.spec.node_trust.enabled:
        return registry
    if followed == trust.hash_of(trust.data_of(published)) and _port(published) == registry.pull_port:
        return registry
    wanted, now = registry.doors, doors_of(deployment)
    stage = Doors(
        asks=wanted.asks and (now.asks or not wanted.pulls),
        pulls=wanted.pulls or now.pulls,
    )
    return registry if stage == wanted else registry.model_copy(update={"stage": stage})


def _port(published: Object) -> int:
    try:
        return trust.parse(published).port
    except trust.EntryInvalidError:
        return 0


def decide(registry: PrivateRegistry, seen: Observed, *, accepted: str, now: datetime, chance: Chance) -> Users:
    """The users of a registry that asks for credentials.

    `accepted` is the user name that the registry was seen to accept. Whoever deletes the Secret of the generated
    credential has it replaced at once, and refused from then on.
    """
    live = seen.get(kinds.SECRET, names.credentials_secret(registry.name))
    htpasswd = seen.get(kinds.SECRET, names.htpasswd_secret(registry.name))
    before = _before(htpasswd) if htpasswd else _Before(rotated_for=registry.rotate)
    own, following, done = _read(live) if live else None, None, before.rotated_for
    if not isinstance(own, Credential):
        own, done = _generate(chance), registry.rotate
    elif done != registry.rotate:
        following = before.following or _generate(chance)
        if following.username in (own.username, accepted):  # the first after a crash in between
            own, following, done = following, None, registry.rotate
    wanted = {own.username: own} | ({following.username: following} if following else {})
    problems = list[Problem]()
    for name in (user.secret_name for user in registry.spec.auth.users):
        secret = seen.get(kinds.SECRET, name)
        user = _read(secret) if secret else f"there is no Secret {name} in namespace {registry.namespace}; create it"
        if isinstance(user, Credential) and user.username not in wanted:
            wanted[user.username] = user
            continue
        wrong = f"the user name in the Secret {name} is another's already" if isinstance(user, Credential) else user
        reason = Reason.CREDENTIALS_INVALID if secret else Reason.SECRET_NOT_FOUND
        problems.append(Problem(reason, f"spec.auth.users: {wrong}; until then it gives nobody access"))
    hashes = {username: _hash(user, before.hashes.get(username), chance) for username, user in wanted.items()}
    leaving = dict(_leaving(before, wanted, now + timedelta(seconds=OVERLAP), now)) if live else {}
    hashes |= {username: before.hashes[username] for username in leaving}
    return Users(
        own=own,
        htpasswd=htpasswd_secret(registry, hashes, following, _annotations(done, leaving)),
        following=following,
        problems=tuple(problems),
        expires=min(leaving.values(), default=None),
    )


def _leaving(
    before: _Before, wanted: Mapping[str, Credential], until: datetime, now: datetime
) -> Iterator[tuple[str, datetime]]:
    """Generated credentials that were replaced and are still good; of a user's own nothing stays."""
    for username in before.hashes:
        if username not in wanted and _GENERATED.fullmatch(username):
            end = before.leaving.get(username, until)
            if end > now:
                yield username, end


def _annotations(done: str, leaving: Mapping[str, datetime]) -> dict[str, str]:
    ends = {username: end.isoformat(timespec="seconds") for username, end in sorted(leaving.items())}
    said = {names.ROTATED_FOR: done, names.LEAVING: json.dumps(ends) if ends else ""}
    return {key: value for key, value in said.items() if value}


def _generate(chance: Chance) -> Credential:
    """Under another name each time: two passwords of one user name cannot be good at the same time."""
    which = hashlib.sha256(chance.token().encode()).hexdigest()[:8]
    return Credential(f"push-{which}", chance.token())


def _hash(user: Credential, before: str | None, chance: Chance) -> str:
    if before and _fits(user.password, before):
        return before
    return bcrypt.hashpw(user.password.encode(), chance.salt()).decode()


@lru_cache(maxsize=4096)  # it takes some fifty milliseconds by design, and is asked at every look
def _fits(password: str, hashed: str) -> bool:
    try:
        return bcrypt.checkpw(password.encode(), hashed.encode())
    except ValueError:  # somebody has edited it
        return False


def _read(secret: Object) -> Credential | str:
    """The credential in a Secret, or what is wrong with it; never with a word of what is in it."""
    name, data = secret["metadata"]["name"], secret.get("data") or {}
    try:
        username, password = (_decoded(data.get(key) or "") for key in ("username", "password"))
    except ValueError:
        return f"username and password in the Secret {name} must be text"
    if not _USERNAME.fullmatch(username):
        return f"username in the Secret {name} must have 1 to 128 letters, digits and '._@+-', the first no sign"
    if not 1 <= len(password.encode()) <= _MAX_PASSWORD:
        return f"password in the Secret {name} must have 1 to {_MAX_PASSWORD} bytes"
    if not password.isprintable():
        return f"password in the Secret {name} must not have line ends or other control characters"
    return Credential(username, password)


def _before(htpasswd: Object) -> _Before:
    """As far as it can be read: it is the operator's own, and what somebody has made of it is made good."""
    data, annotations = htpasswd.get("data") or {}, htpasswd["metadata"].get("annotations") or {}
    try:
        lines = [line.partition(":") for line in _decoded(data.get(HTPASSWD) or "").splitlines()]
        following = Credential(*json.loads(_decoded(data[NEXT]))) if data.get(NEXT) else None
        ends = json.loads(annotations.get(names.LEAVING) or "{}")
        leaving = {username: datetime.fromisoformat(end) for username, end in ends.items()}
    except (ValueError, TypeError, AttributeError):
        return _Before(rotated_for=annotations.get(names.ROTATED_FOR, ""))
    hashes = {username: hashed for username, _, hashed in lines}
    return _Before(hashes, following, annotations.get(names.ROTATED_FOR, ""), leaving)


def _decoded(text: str) -> str:
    """Raises ValueError."""
    try:
        return base64.b64decode(text, validate=True).decode()
    except binascii.Error as error:
        raise ValueError(str(error)) from None
