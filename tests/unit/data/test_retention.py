"""Which tags stay, and why."""

import itertools
import random
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from private_registry.api.retention import Rule, parse_duration
from private_registry.data.images import Reference
from private_registry.data.retention import IN_USE, Tag, Used, Verdict, decide, rule_for, short, used_by_repository

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
LAST_ONE = Rule(repositories="*", keep_last=1)


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def a_tag(name: str, number: int, *, days: float | None = 1, parts: tuple[int, ...] = (), subject: str = "") -> Tag:
    """A tag of the manifest of that number, made so many days ago; None: nobody knows when."""
    created = None if days is None else NOW - timedelta(days=days)
    return Tag(name, digest(number), created, frozenset(map(digest, parts)), subject=subject)


def attached(number: int, suffix: str = "") -> str:
    """Name of the tag of what belongs to a manifest."""
    return f"sha256-{number:064x}{suffix}"


def staying(verdicts: tuple[Verdict, ...]) -> set[str]:
    return {verdict.tag.name for verdict in verdicts if verdict.stays}


def reasons(verdicts: tuple[Verdict, ...], name: str) -> tuple[str, ...]:
    (found,) = (verdict.reasons for verdict in verdicts if verdict.tag.name == name)
    return found


AGES = [a_tag(f"v{number}", number, days=10 - number) for number in range(1, 10)]
"""v1 to v9, each a day younger than the one before."""


def test_the_last_ones_stay() -> None:
    """By keepLast: tags are counted from the youngest on."""
    verdicts = decide(Rule(repositories="*", keep_last=3), AGES, Used(), NOW)
    assert staying(verdicts) == {"v7", "v8", "v9"}
    assert reasons(verdicts, "v9") == ("among the last 3",)


def test_the_young_ones_stay() -> None:
    """By keepYoungerThan, from the time at which an image was made; one of exactly that age goes."""
    verdicts = decide(Rule(repositories="*", keep_younger_than="72h"), AGES, Used(), NOW)
    assert staying(verdicts) == {"v8", "v9"}
    assert reasons(verdicts, "v9") == ("younger than 72h",)


def test_tags_that_match_stay() -> None:
    """By keepTags, which are patterns; each is held against the whole tag."""
    verdicts = decide(Rule(repositories="*", keep_tags=("v[12]", "v9*")), AGES, Used(), NOW)
    assert staying(verdicts) == {"v1", "v2", "v9"}
    assert reasons(verdicts, "v9") == ("matches v9*",)


def test_the_union_stays() -> None:
    """Whatever one condition of a rule keeps stays, with every reason there is; what none keeps goes."""
    rule = Rule(repositories="*", keep_last=1, keep_younger_than="72h", keep_tags=("v1", "v9"))
    verdicts = decide(rule, AGES, Used(), NOW)
    assert staying(verdicts) == {"v1", "v8", "v9"}
    assert set(reasons(verdicts, "v9")) == {"matches v9", "younger than 72h", "among the last 1"}
    assert reasons(verdicts, "v2") == ()


@pytest.mark.parametrize(
    ("repository", "expected"), [("team/app", "team/*"), ("team/a/b", "team/*"), ("web", "w?b"), ("team", None)]
)
def test_the_first_rule_that_matches_applies(repository: str, expected: str | None) -> None:
    """A pattern is held against the whole name, and goes across slashes; later rules do not count."""
    rules = [Rule(repositories=each, keep_last=1) for each in ("team/*", "team/app", "w?b")]
    found = rule_for(repository, rules)
    assert (found.repositories if found else None) == expected


@pytest.mark.parametrize("days", [None, 56 * 365.25])
def test_what_has_no_time_stays(days: float | None) -> None:
    """An image that does not say when it was made, or says 1970 as reproducible builds do, is not called old."""
    verdicts = decide(LAST_ONE, [a_tag("dated", 1), a_tag("undated", 2, days=days)], Used(), NOW)
    assert staying(verdicts) == {"dated", "undated"}
    assert reasons(verdicts, "undated") == ("its age is not known",)


def test_what_is_in_use_stays() -> None:
    """By tag, by digest, and by the digest of its configuration, which some runtimes tell."""
    configured = Tag("v4", digest(4), NOW - timedelta(days=9), configurations=frozenset([digest(40)]))
    tags = [a_tag("v9", 9), a_tag("v1", 1, days=8), a_tag("v2", 2, days=8), a_tag("v3", 3, days=8), configured]
    verdicts = decide(LAST_ONE, tags, Used(frozenset(["v1"]), frozenset([digest(2), digest(40)])), NOW)
    assert staying(verdicts) == {"v9", "v1", "v2", "v4"}
    assert {reasons(verdicts, name) for name in ("v1", "v2", "v4")} == {(IN_USE,)}


def test_every_tag_of_a_used_manifest_stays() -> None:
    """A pod that names one tag keeps the others of the same digest, which it may be moved to."""
    tags = [a_tag("v9", 9), a_tag("stable", 1, days=8), a_tag("v1", 1, days=8), a_tag("v0", 3, days=8)]
    assert staying(decide(LAST_ONE, tags, Used(frozenset(["stable"])), NOW)) == {"v9", "stable", "v1"}


def test_an_index_of_a_used_manifest_stays() -> None:
    """A node may tell the digest of the one platform that it runs."""
    tags = [a_tag("v9", 9), a_tag("multi", 1, days=8, parts=(11, 12)), a_tag("other", 2, days=8, parts=(21,))]
    assert staying(decide(LAST_ONE, tags, Used(digests=frozenset([digest(12)])), NOW)) == {"v9", "multi"}


@pytest.mark.parametrize("used", [Used(frozenset(["multi"])), Used(digests=frozenset([digest(1)]))])
def test_the_parts_of_a_used_index_stay(used: Used) -> None:
    """A part that has a tag of its own is used with the index."""
    tags = [
        a_tag("v9", 9),
        a_tag("multi", 1, days=8, parts=(11,)),
        a_tag("amd64", 11, days=8),
        a_tag("arm", 12, days=8),
    ]
    assert staying(decide(LAST_ONE, tags, used, NOW)) == {"v9", "multi", "amd64"}


def test_the_parts_of_a_used_index_without_tag_stay() -> None:
    """So it is where the index itself lost its tag, and a pod has its digest."""
    tags = [a_tag("v9", 9), a_tag("amd64", 11, days=8)]
    used = Used(digests=frozenset([digest(1)]), parts=frozenset([digest(11)]))
    assert staying(decide(LAST_ONE, tags, used, NOW)) == {"v9", "amd64"}


def test_a_part_that_two_indexes_share_is_not_a_use_of_both() -> None:
    """A pod that uses one index keeps no other one because of what both have in them."""
    tags = [a_tag("v9", 9), a_tag("one", 1, days=8, parts=(11,)), a_tag("two", 2, days=8, parts=(11,))]
    assert staying(decide(LAST_ONE, tags, Used(frozenset(["one"])), NOW)) == {"v9", "one"}


@pytest.mark.parametrize("suffix", ["", ".sig", ".att", ".sbom"])
def test_what_belongs_to_an_image_shares_its_fate(suffix: str) -> None:
    """Signatures and the like stay with what they are of, go with it, and are not counted."""
    tags = [
        a_tag("v9", 9),
        a_tag("v1", 1, days=8),
        a_tag(attached(9, suffix), 90, days=0),
        a_tag(attached(1, suffix), 10, days=0),
    ]
    verdicts = decide(LAST_ONE, tags, Used(), NOW)
    assert staying(verdicts) == {"v9", attached(9, suffix)}
    assert reasons(verdicts, attached(9, suffix)) == (f"belongs to {short(digest(9))}, which stays",)


def test_what_says_what_it_belongs_to_shares_its_fate() -> None:
    """An artifact with a subject, whatever its tag is called."""
    tags = [
        a_tag("v9", 9),
        a_tag("v1", 1, days=8),
        a_tag("sbom-9", 90, days=20, subject=digest(9)),
        a_tag("sbom-1", 10, days=0, subject=digest(1)),
    ]
    assert staying(decide(LAST_ONE, tags, Used(), NOW)) == {"v9", "sbom-9"}


def test_a_signature_of_a_part_and_of_a_signature_stay() -> None:
    """Belonging goes through indexes, and on from what belongs to something."""
    tags = [
        a_tag("multi", 9, parts=(91,)),
        a_tag(attached(91), 92, parts=(93,)),
        a_tag(attached(93, ".sig"), 94),
        a_tag(attached(94, ".sig"), 95),
        a_tag("v1", 1, days=8),
    ]
    assert staying(decide(LAST_ONE, tags, Used(), NOW)) == {tag.name for tag in tags} - {"v1"}


def test_what_belongs_to_something_without_tag_stays() -> None:
    """A pod may pull by digest what has no tag any more, and verify it."""
    verdicts = decide(LAST_ONE, [a_tag("v9", 9), a_tag(attached(5, ".sig"), 50, days=8)], Used(), NOW)
    assert reasons(verdicts, attached(5, ".sig")) == (f"belongs to {short(digest(5))}, which has no tag",)


def test_two_that_belong_to_each_other_go() -> None:
    """Nobody can make his tags eternal by that, nor the decision."""
    tags = [a_tag("v9", 9), a_tag(attached(2), 1, parts=(3,)), a_tag(attached(3), 2)]
    assert staying(decide(LAST_ONE, tags, Used(), NOW)) == {"v9"}


def test_what_belongs_to_an_image_goes_before_it() -> None:
    """A sweep that is interrupted leaves no signature behind whose image is gone."""
    tags = [a_tag("v9", 9), a_tag("v1", 1, days=8), a_tag(attached(1, ".sig"), 10), a_tag(attached(10, ".sig"), 11)]
    going = [verdict.tag.name for verdict in decide(LAST_ONE, tags, Used(), NOW) if not verdict.stays]
    assert going == [attached(10, ".sig"), attached(1, ".sig"), "v1"]


def test_whatever_there_is_the_promises_hold() -> None:
    """In a thousand made-up repositories every tag has one verdict, nothing used goes, the last ones stay, nothing
    stays without a reason that is true, and what belongs to something that stays does so as well.
    """
    chance = random.Random(6)
    for _ in range(1000):
        numbers = range(1, chance.randint(2, 12))
        tags = [
            a_tag(
                attached(chance.choice(numbers), chance.choice(["", ".sig"])) if chance.random() < 0.2 else f"t{index}",
                chance.choice(numbers),
                days=chance.choice([None, *range(20)]),
                parts=tuple(chance.sample(range(1, 15), chance.choice([0, 0, 2]))),
            )
            for index, _ in enumerate(numbers)
        ]
        tags = list({tag.name: tag for tag in tags}.values())
        used = Used(
            frozenset(chance.sample([tag.name for tag in tags], chance.choice([0, 1]))),
            frozenset(digest(chance.choice(range(1, 15))) for _ in range(chance.choice([0, 1]))),
        )
        rule = Rule(
            repositories="*", keep_last=chance.choice([1, 2, 5]), keep_younger_than=chance.choice([None, "72h"])
        )
        verdicts = decide(rule, tags, used, NOW)
        assert sorted(verdict.tag.name for verdict in verdicts) == sorted(tag.name for tag in tags)
        stay = staying(verdicts)
        assert {tag.name for tag in tags if tag.name in used.tags or tag.digests & used.digests} <= stay
        images = [tag for tag in tags if not tag.belongs_to and tag.time]
        images.sort(key=lambda tag: (tag.time, tag.name), reverse=True)
        assert {tag.name for tag in images[: rule.keep_last]} <= stay
        kept = set(itertools.chain(*(tag.digests for tag in tags if tag.name in stay)))
        assert {tag.name for tag in tags if tag.belongs_to in kept} <= stay
        for verdict in verdicts:
            if verdict.tag in images[rule.keep_last :] and verdict.stays:
                assert verdict.reasons in {(IN_USE,), ("younger than 72h",), (IN_USE, "younger than 72h")}


def test_references_are_told_apart_by_repository() -> None:
    """What is used of one repository keeps nothing in another."""
    used = used_by_repository([Reference("a", tag="v1"), Reference("a", digest=digest(1)), Reference("b", tag="v2")])
    assert used == {"a": Used(frozenset(["v1"]), frozenset([digest(1)])), "b": Used(frozenset(["v2"]))}


@pytest.mark.parametrize(("text", "hours"), [("720h", 720), ("1h30m", 1.5), ("90m", 1.5), ("36s", 0.01), ("0h", 0)])
def test_durations_are_those_of_kubernetes(text: str, hours: float) -> None:
    """Hours, minutes and seconds, in this order."""
    assert parse_duration(text) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "720", "30d", "1m1h", "-1h", "1.5h", "1 h", "12345678h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """A misread age would delete the wrong images."""
    with pytest.raises(ValueError, match="is no duration"):
        parse_duration(text)


def test_a_rule_that_keeps_nothing_is_refused() -> None:
    """It is forgotten rather than meant."""
    with pytest.raises(ValidationError, match="it would keep nothing"):
        Rule(repositories="*")
