"""Who may push and who may pull, from the Secrets that there are: generated credentials, those that are to replace
them, and the users' own. Pure.

Salts and passwords are arguments: a hash is made once, kept in its Secret, and made again only when it does not fit any
more. A generated credential is replaced in an order in which nobody is refused: the registry knows the new one before
anybody is told of it, and the old one for a while after.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import bcrypt

from private_registry.api import names
from private_registry.api.conditions import Reason
from private_registry.api.hosts import Host
from private_registry.api.registry import Doors, PrivateRegistry
from private_registry.controller.health.problem import Problem
from private_registry.controller.registries.certificate import Chance
from private_registry.controller.registries.drift import is_ours
from private_registry.controller.registries.observe import Observed
from private_registry.kube import kinds
from private_registry.registry.configuration import HTPASSWD, PULLS_HTPASSWD
from private_registry.registry.credentials import (
    NEXT,
    NEXT_PULL,
    Credential,
    Htpasswd,
    credentials_secret,
    htpasswd_secret,
    pull_secret,
)
from private_registry.registry.deployment import doors_of
from private_registry.trust import entry as trust

Object = dict[str, Any]

OVERLAP = 3600.0
"""Seconds for which a generated credential is still good after it was replaced: whoever has just read it goes on."""

_USERNAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}")
_PUSHES, _PULLS = re.compile(r"push-[0-9a-f]{8}"), re.compile(r"pull-[0-9a-f]{8}")
"""Names of the generated users."""
_MAX_PASSWORD = 72
"""Bytes: bcrypt takes no more."""


@dataclass(frozen=True)
class Users:
    """Who may push, and who may pull, from now on."""

    own: Credential
    """The generated one, as its Secret is to have it."""
    htpasswd: Object = field(repr=False)
    following: Credential | None = None
    """What is to replace the generated one, once the registry accepts it."""
    pull: Credential | None = None
    """The generated one that only pulls, as its Secret is to have it: one that the registry is known to accept."""
    following_pull: Credential | None = None
    """What is to be in that Secret once the registry accepts it."""
    problems: tuple[Problem, ...] = ()
    expires: datetime | None = None
    """When the next of those that were replaced stops being good."""

    @property
    def awaited(self) -> tuple[Credential, ...]:
        """Those that the registry is to know before others do."""
        return tuple(each for each in (self.following, self.following_pull) if each)


@dataclass(frozen=True)
class _Before:
    """What the htpasswd Secret remembers."""

    hashes: Mapping[str, str] = field(default_factory=dict)
    following: Credential | None = None
    following_pull: Credential | None = None
    rotated_for: str = ""
    pull_rotated_for: str = ""
    leaving: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True)
class _Generated:
    """A generated credential, what is to replace it, and the value of the annotation that was last seen to."""

    own: Credential | None = None
    following: Credential | None = None
    done: str = ""


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
    """The registry as it is to be made for now: nodes and pods find what they need all the way.

    The port that they pull from asks for no credential before each of them pulls from the other one, and that one does
    not go before they have left it. Where anyone pulls, nobody is asked before the namespaces have the pull secret.
    `followed` is the hash of the entry that all of them go by.
    """
    deployment = seen.get(kinds.DEPLOYMENT, registry.name)
    published = seen.get(kinds.CONFIG_MAP, names.entry(registry.namespace, registry.name))
    if deployment is None or published is None or not registry.spec.node_trust.enabled:
        return registry
    settled = followed == trust.hash_of(trust.data_of(published)) and _port(published) == registry.pull_port
    told = registry.status.copies.observed_generation == registry.generation
    wanted, now = registry.wanted_doors, doors_of(deployment)
    stage = Doors(
        asks=wanted.asks and (now.asks or settled or not wanted.pulls),
        pulls=wanted.pulls or (now.pulls and not settled),
        pulls_ask=(wanted.pulls_ask and (told or not now.let_anyone_pull))
        or (now.pulls_ask and not settled and not wanted.let_anyone_pull),
    )
    return registry if stage == wanted else registry.model_copy(update={"stage": stage})


def awaited(registry: PrivateRegistry) -> str:
    """What a stage waits for."""
    stage, wanted = registry.doors, registry.wanted_doors
    if (stage.asks, stage.pulls) == (wanted.asks, wanted.pulls):
        return "the pull secret in the namespaces that it is for"
    return f"every node to pull from port {registry.pull_port}"


def _port(published: Object) -> int:
    try:
        return trust.parse(published).port
    except trust.EntryInvalidError:
        return 0


def decide(
    registry: PrivateRegistry, seen: Observed, *, accepted: Collection[str], now: datetime, chance: Chance
) -> Users:
    """The users of a registry that asks for credentials.

    `accepted` are the user names that the registry was seen to accept. Whoever deletes the Secret of a generated
    credential has it replaced at once, and refused from then on.
    """
    htpasswd = seen.get(kinds.SECRET, names.htpasswd_secret(registry.name))
    before = _before(htpasswd) if htpasswd else _Before(rotated_for=registry.rotate, pull_rotated_for=registry.rotate)
    live = seen.get(kinds.SECRET, names.credentials_secret(registry.name))
    push = _generated(registry, live, before.following, before.rotated_for, accepted, "push", chance)
    own = push.own or push.following
    assert own is not None, "there is the one or the other"
    if push.own is None:  # people need one before there is a registry to ask
        push = _Generated(own, None, registry.rotate)
    wanted = {each.username: each for each in (own, push.following) if each}
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
    pull, pulling = _Generated(), _may_pull(registry, seen)
    if pulling:
        live_pull, following = seen.get(kinds.SECRET, names.pull_secret(registry.name)), before.following_pull
        pull = _generated(registry, live_pull, following, before.pull_rotated_for, accepted, "pull", chance, wanted)
    pullers = {each.username: each for each in (pull.own, pull.following) if each}
    hashes = {
        username: _hash(user, before.hashes.get(username), chance) for username, user in (wanted | pullers).items()
    }
    good_for = now + timedelta(seconds=OVERLAP)
    left = [_PUSHES] * bool(live) + [_PULLS] * bool(pull.own)
    leaving = dict(_leaving(before, hashes, left, good_for, now))
    hashes |= {username: before.hashes[username] for username in leaving}
    only_pull = {*pullers, *(username for username in leaving if _PULLS.fullmatch(username))}
    may_push = hashes.keys() - (set() if names.PORT in registry.ports_to_pull_from else only_pull)
    users = Htpasswd(
        push={username: hashes[username] for username in may_push},
        pull=hashes if pulling else None,
        following=push.following,
        following_pull=pull.following,
    )
    return Users(
        own=own,
        htpasswd=htpasswd_secret(registry, users, _annotations(push.done, pull.done, leaving)),
        following=push.following,
        pull=pull.own,
        following_pull=pull.following,
        problems=tuple(problems),
        expires=min(leaving.values(), default=None),
    )


def secrets(
    registry: PrivateRegistry, users: Users, addresses: Collection[str], hosts: Collection[str]
) -> list[Object]:
    """The Secrets of these users, in the order in which they are to be written. `hosts`: what nodes and pods call it.

    A replacement that people are told of is still to be found in the last one, if it ends in between.
    """
    local = [str(Host(address, names.PORT)) for address in (*addresses, "localhost")]
    every = dict.fromkeys([*hosts, *local])
    pull = [pull_secret(registry, users.pull, every)] if users.pull else []
    return [credentials_secret(registry, users.own, every), *pull, users.htpasswd]


def _generated(
    registry: PrivateRegistry,
    live: Object | None,
    following: Credential | None,
    done: str,
    accepted: Collection[str],
    prefix: str,
    chance: Chance,
    others: Collection[str] = (),
) -> _Generated:
    """One that is in its Secret stays until the registry has accepted the next; one that was lost waits for that."""
    found = _read(live) if live else None
    own = found if isinstance(found, Credential) and found.username not in others else None
    if own and done == registry.rotate:
        return _Generated(own, None, done)
    following = following or _generate(prefix, chance)
    if following.username in accepted or (own and own.username == following.username):  # after a crash in between
        return _Generated(following, None, registry.rotate)
    return _Generated(own, following, done)


def _may_pull(registry: PrivateRegistry, seen: Observed) -> bool:
    """Whether some pod may ask for the credential that only pulls: the last one that does mounts its file."""
    secret = seen.get(kinds.SECRET, names.pull_secret(registry.name))
    deployment = seen.get(kinds.DEPLOYMENT, registry.name)
    there = (secret and is_ours(secret, registry.uid)) or (deployment and doors_of(deployment).pulls_ask)
    return registry.has_pull_user or bool(there)


def _leaving(
    before: _Before, wanted: Collection[str], left: Collection[re.Pattern[str]], until: datetime, now: datetime
) -> Iterator[tuple[str, datetime]]:
    """Generated credentials that were replaced and are still good; of a user's own nothing stays."""
    for username in before.hashes:
        if username not in wanted and any(generated.fullmatch(username) for generated in left):
            end = before.leaving.get(username, until)
            if end > now:
                yield username, end


def _annotations(done: str, pull_done: str, leaving: Mapping[str, datetime]) -> dict[str, str]:
    ends = {username: end.isoformat(timespec="seconds") for username, end in sorted(leaving.items())}
    said = {
        names.ROTATED_FOR: done,
        names.PULL_ROTATED_FOR: pull_done,
        names.LEAVING: json.dumps(ends) if ends else "",
    }
    return {key: value for key, value in said.items() if value}


def _generate(prefix: str, chance: Chance) -> Credential:
    """Under another name each time: two passwords of one user name cannot be good at the same time."""
    which = hashlib.sha256(chance.token().encode()).hexdigest()[:8]
    return Credential(f"{prefix}-{which}", chance.token())


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
    done = {
        "rotated_for": annotations.get(names.ROTATED_FOR, ""),
        "pull_rotated_for": annotations.get(names.PULL_ROTATED_FOR, ""),
    }
    try:
        files = [_decoded(data.get(key) or "").splitlines() for key in (PULLS_HTPASSWD, HTPASSWD)]
        lines = [line.partition(":") for file in files for line in file]
        following, pull = (
            Credential(*json.loads(_decoded(data[key]))) if data.get(key) else None for key in (NEXT, NEXT_PULL)
        )
        ends = json.loads(annotations.get(names.LEAVING) or "{}")
        leaving = {username: datetime.fromisoformat(end) for username, end in ends.items()}
    except (ValueError, TypeError, AttributeError):
        return _Before(**done)
    hashes = {username: hashed for username, _, hashed in lines}
    return _Before(hashes, following, pull, **done, leaving=leaving)


def _decoded(text: str) -> str:
    """Raises ValueError."""
    try:
        return base64.b64decode(text, validate=True).decode()
    except binascii.Error as error:
        raise ValueError(str(error)) from None
