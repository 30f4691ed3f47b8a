"""Which tags of a repository stay, and why; the others go.

The first rule whose pattern matches the repository's name applies, and no other. A repository that no rule matches
stays whole. Patterns are the shell's (`*`, `?`, `[…]`), and `*` goes across slashes.

Tags go, not digests: the registry would read every tag of a repository to delete one digest of it, and a tag that was
pushed in between would go with it. The space of what has no tag any more comes back with the next collection.

What is never let go, whatever the rules say:

* A tag that something in the cluster uses, and every tag of a manifest that is used: by its digest, by that of its
  configuration, as a part of an index that is used, or as an index with a part that is used by its digest.
* What belongs to a manifest of a tag that stays: signatures and the like, by the name of their tag
  (`sha256-<digest>`, with or without a suffix) or by their `subject`. They go when that goes, and count for nothing
  before. What belongs to a manifest that has no tag stays.
* A tag whose time is not known: without a `created` in its image, or with one of before 1981, as reproducible builds
  write it. It does not count among the last ones.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from itertools import chain
from typing import Final

from private_registry.api.retention import Rule, parse_duration
from private_registry.data.images import Reference

NO_TIME: Final = datetime(1981, 1, 1, tzinfo=UTC)
"""What is older is no time: reproducible builds write 1970, and 1980 where a zip archive cannot say less."""

IN_USE: Final = "in use in the cluster"

_ATTACHED = re.compile(r"(sha256)-([0-9a-f]{64})(\..+)?")


@dataclass(frozen=True)
class Tag:
    """A tag, and what is known of the manifest that it stands for."""

    name: str
    digest: str
    created: datetime | None = None
    """With a time zone; None: not known."""
    parts: frozenset[str] = frozenset()
    """Digests of the manifests that an index has in it, at any depth."""
    configurations: frozenset[str] = frozenset()
    """Of it and of its parts: some runtimes tell these of what they run. Several manifests may have the same one."""
    subject: str = ""
    """Digest of the manifest that this one says it belongs to."""

    @property
    def belongs_to(self) -> str:
        """Digest of the manifest that this is a signature of, or the like; empty: it stands for itself."""
        named = _ATTACHED.fullmatch(self.name)
        return f"{named[1]}:{named[2]}" if named else self.subject

    @property
    def digests(self) -> frozenset[str]:
        return self.parts | {self.digest}

    @property
    def time(self) -> datetime | None:
        """When it was made, as far as that can be believed."""
        return self.created if self.created and self.created >= NO_TIME else None


@dataclass(frozen=True)
class Used:
    """What the cluster uses of one repository."""

    tags: frozenset[str] = frozenset()
    digests: frozenset[str] = frozenset()
    parts: frozenset[str] = frozenset()
    """Of these, where they are indexes that no tag stands for."""

    def knows(self, tag: Tag) -> bool:
        """Whether it is used under its own name, or its manifest is."""
        return tag.name in self.tags or tag.digest in self.digests

    def by(self, tags: Iterable[Tag]) -> "Used":
        """The same, with what the manifests of these tags add to it."""
        known = [tag for tag in tags if self.knows(tag)]
        return Used(
            self.tags,
            self.digests.union(tag.digest for tag in known),
            self.parts.union(*(tag.parts for tag in known)),
        )

    def keeps(self, tag: Tag) -> bool:
        """Whether this tag has to stay: something that it stands for, or a part of it, is used."""
        inside = tag.parts | tag.configurations
        return self.knows(tag) or tag.digest in self.parts or not inside.isdisjoint(self.digests)


@dataclass(frozen=True)
class Verdict:
    """What becomes of a tag."""

    tag: Tag
    reasons: tuple[str, ...] = ()
    """Why it stays; none: it goes."""

    @property
    def stays(self) -> bool:
        return bool(self.reasons)


def short(digest: str) -> str:
    """As people tell digests apart, and as ten thousand of them fit into a list."""
    return digest[: len("sha256:") + 12]


def rule_for(repository: str, rules: Iterable[Rule]) -> Rule | None:
    """The rule that applies to a repository; None: all of it stays."""
    return next((rule for rule in rules if fnmatchcase(repository, rule.repositories)), None)


def used_by_repository(references: Iterable[Reference]) -> Mapping[str, Used]:
    """What is used of each repository that something is used of."""
    tags, digests = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
    for each in references:
        (digests if each.digest else tags)[each.repository].add(each.digest or each.tag)
    return {
        repository: Used(frozenset(tags[repository]), frozenset(digests[repository]))
        for repository in tags.keys() | digests.keys()
    }


def decide(rule: Rule, tags: Sequence[Tag], used: Used, now: datetime) -> tuple[Verdict, ...]:
    """What becomes of each tag of a repository, in the order in which they may be deleted: a manifest's tags after what
    belongs to it.

    `rule` is the one that applies to it; `now` has a time zone.
    """
    # A tag stays by its manifest where that is used: whoever pulls the digest needs some tag, or a collection takes it.
    decision = _Decision(rule, now, used.by(tags), _last(rule, (tag for tag in tags if not tag.belongs_to)))
    images, attached = list[Verdict](), defaultdict[str, list[Verdict]](list)
    known = frozenset[str]().union(*(tag.digests for tag in tags))
    for tag in sorted(tags, key=lambda each: each.name):
        if tag.belongs_to:
            orphan = () if tag.belongs_to in known else (f"belongs to {short(tag.belongs_to)}, which has no tag",)
            attached[tag.belongs_to].append(Verdict(tag, (*decision.exceptions(tag), *orphan)))
        else:
            images.append(Verdict(tag, decision.reasons(tag)))
    # From what stays to what belongs to it, and to what belongs to that; what is not met on the way goes.
    met = [each for each in (*images, *chain(*attached.values())) if each.stays]
    _follow(met, attached)
    others = [each for each in images if not each.stays]
    _follow(others, attached)
    rest = [each for each in chain(*attached.values()) if not each.stays]
    return tuple(reversed([*met, *others, *rest]))


def _follow(met: list[Verdict], attached: dict[str, list[Verdict]]) -> None:
    """Add to the verdicts those on what belongs to their manifests: it stays where they stay. None is added twice."""
    for verdict in met:
        for digest in verdict.tag.digests:
            for each in attached.pop(digest, ()):
                if not each.stays:
                    reasons = (f"belongs to {short(digest)}, which stays",) if verdict.stays else ()
                    met.append(Verdict(each.tag, reasons))


@dataclass(frozen=True)
class _Decision:
    rule: Rule
    now: datetime
    used: Used
    last: frozenset[str]

    def reasons(self, tag: Tag) -> tuple[str, ...]:
        found = list(self.exceptions(tag))
        if tag.time is None:
            found.append("its age is not known")
        elif self.rule.keep_younger_than and self.now - tag.time < parse_duration(self.rule.keep_younger_than):
            found.append(f"younger than {self.rule.keep_younger_than}")
        if tag.name in self.last:
            found.append(f"among the last {self.rule.keep_last}")
        return tuple(found)

    def exceptions(self, tag: Tag) -> Iterable[str]:
        """What keeps a tag that is an image as well as one that belongs to one."""
        if self.used.keeps(tag):
            yield IN_USE
        if pattern := next((each for each in self.rule.keep_tags if fnmatchcase(tag.name, each)), None):
            yield f"matches {pattern}"


def _last(rule: Rule, images: Iterable[Tag]) -> frozenset[str]:
    """Names of the newest; of two that are equally old, the one whose name comes last."""
    dated = sorted(((tag.time, tag.name) for tag in images if tag.time), reverse=True)
    return frozenset(name for _, name in dated[: rule.keep_last or 0])
