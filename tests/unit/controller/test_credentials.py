"""Who may push, and how a credential is replaced by another without refusing anybody who is in the right."""

import base64
import json
from datetime import datetime, timedelta
from typing import Any

import bcrypt
import pytest

from private_registry.api import names
from private_registry.api.conditions import Reason
from private_registry.api.registry import PrivateRegistry
from private_registry.controller.registries import credentials
from private_registry.controller.registries.credentials import Users, decide, secrets
from private_registry.controller.registries.observe import Observed
from private_registry.registry.credentials import Credential, credentials_secret, encoded
from tests.unit.controller.builders import CHANCE, NOW, a_registry

Object = dict[str, Any]

OVERLAP = timedelta(seconds=credentials.OVERLAP)
OWN, PULL, HTPASSWD = ("Secret", "team-credentials"), ("Secret", "team-pull"), ("Secret", "team-htpasswd")


class Room:
    """The Secrets of a registry, from one look at them to the next."""

    def __init__(self, *users: str, **auth: Any) -> None:
        spec = {"auth": {"mode": "Basic", "users": [{"secretName": name} for name in users], **auth}}
        self.registry: PrivateRegistry = a_registry(spec)
        self.secrets: dict[tuple[str, str], Object] = {}
        self.now: datetime = NOW

    def look(self, *accepted: str) -> Users:
        users = self.decide(*accepted)
        for secret in secrets(self.registry, users, (), ()):
            self.secrets["Secret", secret["metadata"]["name"]] = secret
        return users

    def decide(self, *accepted: str) -> Users:
        seen = Observed(objects=self.secrets)
        return decide(self.registry, seen, accepted=accepted, now=self.now, chance=CHANCE)

    def rotate(self, value: str) -> None:
        self.registry = replace_rotation(self.registry, value)

    def put(self, name: str, **data: str) -> None:
        self.secrets["Secret", name] = {"metadata": {"name": name}, "data": encoded(data)}

    def accepts(self, username: str, password: str, file: str = "htpasswd") -> bool:
        """What the registry would say, which compares with the last line of a user."""
        lines = base64.b64decode(self.secrets[HTPASSWD]["data"][file]).decode().splitlines()
        hashes = dict(line.split(":") for line in lines)
        return username in hashes and bcrypt.checkpw(password.encode(), hashes[username].encode())


def replace_rotation(registry: PrivateRegistry, value: str) -> PrivateRegistry:
    return registry.model_copy(update={"rotate": value})


class TestGenerated:
    def test_it_is_made_once(self) -> None:
        """The first look makes it, and no later one changes a byte of either Secret."""
        room = Room()
        own = room.look().own
        assert room.accepts(own.username, own.password)
        before = dict(room.secrets)
        assert room.look().own == own
        assert room.secrets == before

    def test_it_says_nothing_of_itself(self) -> None:
        """No password is in what a log may show of it."""
        users = Room().look()
        assert users.own.password not in repr(users)

    @pytest.mark.parametrize("lost", [OWN, HTPASSWD])
    def test_a_secret_that_somebody_deletes_is_made_again(self, lost: tuple[str, str]) -> None:
        """The pod's one as it was; and with people's one goes who had read it."""
        room = Room()
        own = room.look().own
        del room.secrets[lost]
        again = room.look().own
        assert (again == own) is (lost == HTPASSWD)
        assert room.accepts(again.username, again.password)
        assert room.accepts(own.username, own.password) is (lost == HTPASSWD)

    def test_a_password_that_its_owner_puts_there_is_taken(self) -> None:
        """The Secret may be edited: what stands in it is what the registry asks for."""
        room = Room()
        room.look()
        room.put("team-credentials", username="me", password="my own")
        assert room.look().own.username == "me"
        assert room.accepts("me", "my own")

    def test_what_is_no_credential_is_replaced(self) -> None:
        """Nobody is locked out by a Secret that was emptied."""
        room = Room()
        room.look()
        room.put("team-credentials", username="", password="")
        own = room.look().own
        assert room.accepts(own.username, own.password)


class TestRotation:
    def test_nobody_is_refused_on_the_way(self) -> None:
        """The registry knows the new one before people do, and the old one for an hour after."""
        room = Room()
        old = room.look().own
        room.rotate("once")
        users = room.look()
        new = users.following
        assert new
        assert users.own == old
        assert room.accepts(old.username, old.password)
        assert room.accepts(new.username, new.password)
        assert room.look().following == new

        users = room.look(new.username)
        assert (users.own, users.following) == (new, None)
        assert room.accepts(old.username, old.password)
        assert room.accepts(new.username, new.password)
        assert users.expires == NOW + OVERLAP

        room.now = NOW + OVERLAP - timedelta(seconds=1)
        assert room.look().expires == NOW + OVERLAP
        assert room.accepts(old.username, old.password)
        room.now = NOW + OVERLAP
        assert room.look().expires is None
        assert not room.accepts(old.username, old.password)
        assert room.accepts(new.username, new.password)

    def test_it_is_done_once_for_each_value(self) -> None:
        """The annotation stays, and means nothing until it has another value."""
        room = Room()
        room.look()
        for value in ("once", "again"):
            room.rotate(value)
            following = room.look().following
            assert following
            room.look(following.username)
            assert room.look().following is None

    def test_a_new_registry_has_nothing_to_rotate(self) -> None:
        """One that was made with the annotation begins with its first credential."""
        room = Room()
        room.rotate("from a template")
        assert room.look().following is None
        assert room.look().following is None

    @pytest.mark.parametrize("written", [(), (OWN,), (OWN, HTPASSWD)])
    def test_killed_between_its_two_writes_it_goes_on(self, written: tuple[tuple[str, str], ...]) -> None:
        """In the order in which they are written; the old one is good for its hour all the same."""
        room = Room()
        old = room.look().own
        room.rotate("once")
        new = room.look().following
        assert new
        users = room.decide(new.username)
        for key, secret in ((OWN, credentials_secret(room.registry, users.own, [])), (HTPASSWD, users.htpasswd)):
            if key in written:
                room.secrets[key] = secret
        users = room.look(*([] if written else [new.username]))
        assert (users.own, users.following) == (new, None)
        assert room.accepts(old.username, old.password)
        assert users.expires == NOW + OVERLAP


class TestPulling:
    """The credential that pulls and does nothing else."""

    def room(self, **asked: Any) -> Room:
        return Room(anonymousPull=False, pullSecret=asked)

    def pulls(self, room: Room, user: Credential | None) -> tuple[bool, bool]:
        """Whether it is good where one only pulls, and where one can push."""
        assert user
        return room.accepts(user.username, user.password, "pulls-htpasswd"), room.accepts(user.username, user.password)

    def begun(self, room: Room) -> Credential:
        """The first one, once the registry has accepted it."""
        following = room.look().following_pull
        assert following
        assert PULL not in room.secrets
        assert room.look(following.username).pull == following
        assert room.look().following_pull is None
        return following

    def test_nobody_is_told_of_one_that_the_registry_does_not_know(self) -> None:
        """It is made once, and its Secret is there from when it works; whoever may push may pull there, too."""
        room = self.room()
        first = self.begun(room)
        assert self.pulls(room, first) == (True, False)
        assert self.pulls(room, room.look().own) == (True, True)
        before = dict(room.secrets)
        assert room.look().pull == first
        assert room.secrets == before

    def test_without_one_there_is_no_file_for_it(self) -> None:
        """Nothing is kept that no process asks for."""
        room = Room(anonymousPull=False)
        assert (room.look().pull, room.look().following_pull) == (None, None)
        assert room.secrets[HTPASSWD]["data"].keys() == {"htpasswd"}

    def test_where_a_runtime_cannot_be_sent_elsewhere_it_is_good_everywhere(self) -> None:
        """Only if that was said, and no longer than it is."""
        room = self.room(dockerNodes=True)
        assert self.pulls(room, self.begun(room)) == (True, True)
        without = self.room()
        without.secrets = room.secrets
        assert self.pulls(without, without.look().pull) == (True, False)

    def test_it_is_replaced_with_the_other_one(self) -> None:
        """Each when the registry knows it; the old one is good for an hour, and never where one can push."""
        room = self.room()
        old = self.begun(room)
        room.rotate("once")
        users = room.look()
        assert (users.pull, users.own) == (old, room.look().own)
        push, new = users.following, users.following_pull
        assert push
        assert new
        assert self.pulls(room, new) == (True, False)
        assert room.look(push.username).pull == old
        assert room.look(new.username).pull == new
        assert self.pulls(room, old) == (True, False)
        room.now = NOW + OVERLAP
        room.look()
        assert self.pulls(room, old) == (False, False)
        assert self.pulls(room, new) == (True, False)

    @pytest.mark.parametrize("written", [(OWN,), (OWN, PULL), (OWN, PULL, HTPASSWD)])
    def test_killed_on_the_way_it_goes_on(self, written: tuple[tuple[str, str], ...]) -> None:
        """In the order in which they are written."""
        room = self.room()
        old = self.begun(room)
        room.rotate("once")
        new = room.look().following_pull
        assert new
        for secret in secrets(room.registry, room.decide(new.username), (), ()):
            key = ("Secret", secret["metadata"]["name"])
            if key in written:
                room.secrets[key] = secret
        users = room.look() if PULL in written else room.look(new.username)
        assert (users.pull, users.following_pull) == (new, None)
        assert self.pulls(room, old) == (True, False)
        assert users.expires == NOW + OVERLAP

    def test_whoever_deletes_it_revokes_it(self) -> None:
        """It is refused from then on; the next one is told of once it works. The one to push with is another matter."""
        room = self.room()
        old, own = self.begun(room), room.look().own
        del room.secrets[PULL]
        new = self.begun(room)
        assert new != old
        assert self.pulls(room, old) == (False, False)
        assert self.pulls(room, own) == (True, True)

    def test_its_owner_cannot_make_it_push(self) -> None:
        """A name that is put there and belongs to someone who may push is none."""
        room = self.room()
        self.begun(room)
        own = room.look().own
        room.put("team-pull", username=own.username, password="x")
        room.secrets[PULL]["metadata"] = {"name": "team-pull", "labels": {}}
        users = room.decide()
        assert users.pull is None
        assert users.following_pull
        assert users.following_pull.username != own.username

    def test_it_stays_until_no_pod_asks_for_it(self) -> None:
        """A pod that mounts the file finds it there, whatever the spec says by now."""
        room = self.room()
        first = self.begun(room)
        after = Room(anonymousPull=False)
        after.secrets = room.secrets
        after.look()
        assert self.pulls(after, first) == (True, False)
        del after.secrets[PULL]
        after.look()
        assert after.secrets[HTPASSWD]["data"].keys() == {"htpasswd"}


class TestUsers:
    def test_a_user_is_let_in_and_out(self) -> None:
        """With the Secret's password; with another one once it is changed; and not at all without it."""
        room = Room("ci")
        room.put("ci", username="builder", password="first")
        assert room.look().problems == ()
        assert room.accepts("builder", "first")
        before = room.secrets[HTPASSWD]
        room.look()
        assert room.secrets[HTPASSWD] == before
        room.put("ci", username="builder", password="second")
        room.look()
        assert room.accepts("builder", "second")
        assert not room.accepts("builder", "first")
        del room.secrets["Secret", "ci"]
        (problem,) = room.look().problems
        assert problem.reason is Reason.SECRET_NOT_FOUND
        assert not room.accepts("builder", "second")

    @pytest.mark.parametrize(
        ("data", "what"),
        [
            ({}, "username in the Secret ci"),
            ({"username": "a:b", "password": "x"}, "username in the Secret ci"),
            ({"username": "#a", "password": "x"}, "username in the Secret ci"),
            ({"username": "a\n", "password": "x"}, "username in the Secret ci"),
            ({"username": "a", "password": ""}, "password in the Secret ci must have 1 to 72 bytes"),
            ({"username": "a", "password": "\u00e4" * 37}, "password in the Secret ci must have 1 to 72 bytes"),
            ({"username": "a", "password": "x\n"}, "line ends"),
        ],
    )
    def test_a_secret_that_will_not_do_is_named(self, data: dict[str, str], what: str) -> None:
        """With what is wrong with it, and without a word of what is in it; the others are let in."""
        room = Room("ci", "other")
        room.put("ci", **data)
        room.put("other", username="other", password="x")
        (problem,) = room.look().problems
        assert problem.reason is Reason.CREDENTIALS_INVALID
        assert what in problem.message
        assert room.accepts("other", "x")

    def test_what_is_no_text_is_named(self) -> None:
        """Bytes that are no UTF-8, or no base64 at all."""
        room = Room("ci")
        for wrong in ("/w==", "?"):
            room.secrets["Secret", "ci"] = {"metadata": {"name": "ci"}, "data": {"username": wrong, "password": wrong}}
            (problem,) = room.look().problems
            assert "must be text" in problem.message

    def test_a_user_name_has_one_owner(self) -> None:
        """The first that is listed; neither does anybody take the generated one's name."""
        room = Room("first", "second", "third")
        own = room.look().own
        room.put("first", username="builder", password="1")
        room.put("second", username="builder", password="2")
        room.put("third", username=own.username, password="3")
        assert [problem.reason for problem in room.look().problems] == [Reason.CREDENTIALS_INVALID] * 2
        assert room.accepts("builder", "1")
        assert room.accepts(own.username, own.password)


@pytest.mark.parametrize("wrong", ["no base64", base64.b64encode(b"\xff").decode()])
def test_what_somebody_makes_of_the_pods_secret_is_made_good(wrong: str) -> None:
    """It is the operator's own: edited beyond reading, it is written anew."""
    room = Room()
    own = room.look().own
    for changed in (
        {"data": {"htpasswd": wrong}},
        {"data": {"next": wrong}},
        {"metadata": {"annotations": {names.LEAVING: "{"}}},
        {"data": {"htpasswd": encoded({"x": f"{own.username}:no hash"})["x"]}},
    ):
        room.secrets[HTPASSWD] = {"metadata": {}, "data": {}, **changed}
        assert room.look().own == own
        assert room.accepts(own.username, own.password)


def test_it_works_as_it_is_for_every_name() -> None:
    """The Secret is a docker config, too, for whatever a pod or a person may call the registry."""
    registry = a_registry({"auth": {"mode": "Basic"}})
    own = Room().look().own
    secret = credentials_secret(registry, own, ["team.registries.svc:5000", "localhost:5000"])
    config = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))
    assert config["auths"].keys() == {"team.registries.svc:5000", "localhost:5000"}
    for each in config["auths"].values():
        assert base64.b64decode(each["auth"]).decode() == f"{own.username}:{own.password}"
