"""The sweep of a real registry: what the rules let go is said or deleted, and nothing else, whatever is wrong."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from private_registry.api.retention import Rule
from private_registry.data.orders import FILE, LIST, list_key
from private_registry.distribution import Registry
from tests.integration.pushing import client
from tests.integration.registry_pod import RegistryPod
from tests.integration.sweeping import Sweeping, push_image, push_index
from tests.registries import a_registry
from tests.waiting import aeventually

PLAIN = {"tls": {"mode": "Disabled"}, "auth": {"mode": "None"}}
SOON = -60
"""Minutes: a list that stays fresh however long a sweep takes."""


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryPod]:
    with RegistryPod(a_registry(PLAIN), tmp_path_factory.mktemp("registry") / "pod") as pod:
        yield pod


@pytest_asyncio.fixture
async def session(pod: RegistryPod) -> AsyncIterator[aiohttp.ClientSession]:
    async with client(pod.http) as session:
        yield session


@pytest.fixture
def sweeping(pod: RegistryPod, tmp_path: Path) -> Sweeping:
    return Sweeping(pod.http, tmp_path / "sweep")


@pytest.fixture
def app(request: pytest.FixtureRequest) -> str:
    """A repository of the test's own, which its rules are for."""
    return f"team/{request.node.name.partition('[')[0].replace('_', '-')}"


def last(app: str, number: int = 1, **more: Any) -> list[Rule]:
    return [Rule(repositories=app, keep_last=number, **more)]


async def five(session: aiohttp.ClientSession, app: str) -> dict[str, str]:
    """Tags v1 to v5, v5 the youngest; their digests."""
    return {f"v{day}": (await push_image(session, app, f"v{day}", days=10 - day))[0] for day in range(1, 6)}


async def test_a_report_deletes_nothing(
    pod: RegistryPod, session: aiohttp.ClientSession, sweeping: Sweeping, app: str
) -> None:
    """It says of each tag whether it would go, or why it stays; of repositories without a rule, that they do."""
    await five(session, app)
    await push_image(session, "elsewhere", "v1", days=900)
    sweeping.order("Report", last(app, 2, keep_tags=("v1",)), [f"{app}:v2"])
    result = await sweeping.run()
    assert (result.result, result.would_delete, result.deleted) == ("Succeeded", 1, 0)
    assert sweeping.line(f"{app}:v1") == "stays: matches v1"
    assert sweeping.line(f"{app}:v2") == "stays: in use in the cluster"
    assert sweeping.line(f"{app}:v3") == "would go"
    assert sweeping.line(f"{app}:v4") == "stays: among the last 2"
    assert "elsewhere: 1 tags stay: no rule is for this repository" in sweeping.said
    assert await pod.http.tags(app) == ["v1", "v2", "v3", "v4", "v5"]


async def test_enforced_the_rules_delete_tags(
    pod: RegistryPod, session: aiohttp.ClientSession, sweeping: Sweeping, app: str
) -> None:
    """What the rules let go is gone, and said to be; a second sweep finds nothing to do."""
    digests = await five(session, app)
    sweeping.order("Enforce", last(app, 2), [f"{app}@{digests['v1']}"], minutes=SOON)
    result = await sweeping.run()
    assert (result.result, result.would_delete, result.deleted) == ("Succeeded", 0, 2)
    assert sweeping.line(f"{app}:v3") == "is gone"
    assert await pod.http.tags(app) == ["v1", "v4", "v5"]
    assert await pod.http.manifest_digest(app, "v1") == digests["v1"]
    again = await sweeping.run()
    assert (again.result, again.would_delete, again.deleted) == ("Succeeded", 0, 0)


async def test_indexes_their_parts_and_signatures_stay_together(
    pod: RegistryPod, session: aiohttp.ClientSession, sweeping: Sweeping, app: str
) -> None:
    """A node may name a part of an index by its digest: index, parts and signatures stay; of others they go."""
    for name, days in (("used", 20.0), ("unused", 21.0)):
        parts = [await push_image(session, app, f"{name}-{arch}", days=days, of=arch) for arch in ("amd64", "arm64")]
        index, _ = await push_index(session, app, name, parts)
        await push_image(session, app, f"{index.replace(':', '-')}.sig", days=1, of=name)
        if name == "used":
            running, signature = parts[0][0], f"{index.replace(':', '-')}.sig"
    await push_image(session, app, "newest", days=0)
    sweeping.order("Enforce", last(app), [f"{app}@{running}"], minutes=SOON)
    assert (await sweeping.run()).result == "Succeeded"
    assert set(await pod.http.tags(app)) == {"newest", "used", "used-amd64", signature}
    assert await pod.http.manifest_digest(app, running) == running


async def test_parts_of_an_index_without_tag_stay(
    pod: RegistryPod, session: aiohttp.ClientSession, sweeping: Sweeping, app: str
) -> None:
    """A pod has the digest of an index that lost its tag: the tags of its parts are the last ones that there are."""
    part = await push_image(session, app, "amd64", days=20)
    index, _ = await push_index(session, app, "", [part])
    await push_image(session, app, "newest", days=0)
    sweeping.order("Enforce", last(app), [f"{app}@{index}"], minutes=SOON)
    assert (await sweeping.run()).deleted == 0
    assert await pod.http.tags(app) == ["amd64", "newest"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("missing", "No such file"),
        ("empty", "cannot be read"),
        ("half", "cannot be read"),
        ("old", "11 minutes old"),
        ("from before the sweep", "no list of the images in use was made within 1 s of the beginning"),
    ],
)
async def test_without_a_good_list_nothing_is_deleted(
    pod: RegistryPod, session: aiohttp.ClientSession, sweeping: Sweeping, app: str, wrong: str, message: str
) -> None:
    """The sweep fails, says why, and everything is there."""
    await five(session, app)
    sweeping.order("Enforce", last(app), minutes=11 if wrong == "old" else 1)
    file = sweeping.directory / FILE
    match wrong:
        case "missing":
            file.unlink()
        case "empty":
            file.write_text("")
        case "half":
            file.write_text(file.read_text()[:-10])
    sweeping.settings = replace(sweeping.settings, fresh=1)
    result = await sweeping.run()
    assert (result.result, result.deleted) == ("Failed", 0)
    assert message in result.message
    assert await pod.http.tags(app) == ["v1", "v2", "v3", "v4", "v5"]


@pytest.fixture
def after_the_first(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is put in here is called once the first tag was deleted."""
    calls: list[Any] = []
    delete = Registry.delete_manifest

    async def deleting(registry: Registry, repository: str, reference: str) -> None:
        await delete(registry, repository, reference)
        while calls:
            await calls.pop()()

    monkeypatch.setattr(Registry, "delete_manifest", deleting)
    return calls


async def test_what_comes_into_use_meanwhile_stays(
    pod: RegistryPod, session: aiohttp.ClientSession, sweeping: Sweeping, app: str, after_the_first: list[Any]
) -> None:
    """Each deletion looks into the list as it is then."""
    await five(session, app)
    rules, left = last(app), []

    async def use_the_others() -> None:
        left.extend(await pod.http.tags(app))
        sweeping.order("Enforce", rules, [f"{app}:{tag}" for tag in left], minutes=SOON)

    after_the_first.append(use_the_others)
    sweeping.order("Enforce", rules, minutes=SOON)
    assert (await sweeping.run()).deleted == 1
    assert len(left) == 4
    assert await pod.http.tags(app) == left


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("list gone", "No such file"),
        ("list old", "minutes old: does the operator run?"),
        ("report", "spec.retention was changed meanwhile"),
        ("rules", "spec.retention was changed meanwhile"),
    ],
)
async def test_a_sweep_stops_when_it_is_told_to(
    pod: RegistryPod,
    session: aiohttp.ClientSession,
    sweeping: Sweeping,
    app: str,
    after_the_first: list[Any],
    change: str,
    message: str,
) -> None:
    """Between two deletions: the list is gone or old, its owner asks for a report, or for other rules."""
    await five(session, app)
    rules = last(app)

    async def changed() -> None:
        match change:
            case "list gone":
                (sweeping.directory / FILE).unlink()
            case "list old":
                sweeping.order("Enforce", rules, minutes=11)
            case "report":
                sweeping.order("Report", rules, minutes=SOON)
            case "rules":
                sweeping.order("Enforce", last(app, 2), minutes=SOON)

    after_the_first.append(changed)
    sweeping.order("Enforce", rules, minutes=SOON)
    result = await sweeping.run()
    assert (result.result, result.deleted, result.would_delete) == ("Failed", 1, 3)
    assert message in result.message
    assert len(await pod.http.tags(app)) == 4


async def test_a_tag_that_is_pushed_again_meanwhile_stays(
    pod: RegistryPod, session: aiohttp.ClientSession, sweeping: Sweeping, app: str, after_the_first: list[Any]
) -> None:
    """The decision was on another image; it is made anew by the next sweep."""
    await five(session, app)
    moved = ""

    async def push_again() -> None:
        nonlocal moved
        moved = (await pod.http.tags(app))[0]
        await push_image(session, app, moved, days=30, of="moved")

    after_the_first.append(push_again)
    sweeping.order("Enforce", last(app), minutes=SOON)
    assert (await sweeping.run()).deleted == 3
    assert sweeping.line(f"{app}:{moved}") == "stays: it was pushed or deleted meanwhile"
    assert await pod.http.tags(app) == sorted([moved, "v5"])


async def test_it_waits_for_a_list_from_after_its_beginning(
    pod: RegistryPod, session: aiohttp.ClientSession, sweeping: Sweeping, app: str
) -> None:
    """What a pod began to use after the first list was made is in the next one, and stays."""
    await five(session, app)
    sweeping.order("Enforce", last(app), minutes=1)
    running = asyncio.create_task(sweeping.run())
    sweeping.order("Enforce", last(app), [f"{app}:v1"], minutes=SOON)
    assert (await running).deleted == 3
    assert await pod.http.tags(app) == ["v1", "v5"]


async def test_a_registry_that_takes_no_deletion_is_said_to(
    session: aiohttp.ClientSession, tmp_path: Path, app: str
) -> None:
    """Nothing is gone then, and nothing is claimed to be."""
    spec = {**PLAIN, "storage": {"deleteEnabled": False}}
    with RegistryPod(a_registry(spec), tmp_path / "pod") as keeps:
        async with client(keeps.http) as own:
            await five(own, app)
        sweeping = Sweeping(keeps.http, tmp_path / "sweep")
        sweeping.order("Enforce", last(app), minutes=SOON)
        result = await sweeping.run()
    assert (result.result, result.deleted, result.would_delete) == ("Failed", 0, 4)
    assert result.message == "the registry takes no deletion, it is read-only"


async def test_a_registry_that_is_away_fails_the_sweep(tmp_path: Path, pod: RegistryPod) -> None:
    """It says what did not answer."""
    sweeping = Sweeping(replace(pod.http, port=1), tmp_path / "sweep")
    sweeping.order("Report")
    result = await sweeping.run()
    assert result.result == "Failed"
    assert "127.0.0.1:1" in result.message


async def test_the_list_is_handed_to_whoever_knows_the_credential(
    session: aiohttp.ClientSession, sweeping: Sweeping, app: str
) -> None:
    """The whole of it, once, and to nobody else."""
    await five(session, app)
    (sweeping.directory / "username").write_text("push")
    (sweeping.directory / "password").write_text("secret")
    sweeping.settings = replace(sweeping.settings, patience=30)
    sweeping.order("Report", last(app))
    running = asyncio.create_task(sweeping.run())
    url = f"http://127.0.0.1:{sweeping.settings.port}{LIST}"
    async with aiohttp.ClientSession() as operator:

        async def fetched(key: str, expected: int) -> str:
            async with operator.get(url, headers={"Authorization": f"Bearer {key}"}) as answer:
                assert answer.status == expected
                return await answer.text()

        for key in ("", "secret", list_key("other")):
            await aeventually(lambda key=key: fetched(key, 401), within=30, every=0.1, what="it serves")  # type: ignore[misc]
        good = list_key("secret")
        text = await aeventually(lambda: fetched(good, 200), within=30, every=0.1, what="the list is there")
    await running
    assert text.splitlines() == sweeping.said
