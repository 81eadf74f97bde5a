"""Which names to keep, under which name, and which to merge: the words of `--classes` and `--splits`.

`car,van` keeps these two; `person=pedestrian,people` merges two into a new one; `*` stands for all that nothing else
names. In one word, names behind a `new=` belong to it up to the next: `car,person=pedestrian,people,big=bus,truck`.
The order of the words is the order of the result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from finespot.errors import FineSpotError, unknown

REST = "*"


@dataclass(frozen=True)
class Rule:
    """The old names that become one new name."""

    new: str
    old: tuple[str, ...]


def parse_rules(words: Sequence[str], known: Sequence[str], kind: str) -> list[Rule]:
    """The rules that the words mean for the `known` names; without words each name stays.

    Raises
    ------
    FineSpotError
        A name is unknown, or is named twice.
    """
    rules = [rule for word in words or [REST] for rule in _parse(word, known)]
    named = Counter(name for rule in rules for name in rule.old)
    for name, count in named.items():
        if name not in known and name != REST:
            raise unknown(kind, name, known)
        if count > 1:
            raise FineSpotError(f"the {kind} '{name}' is named twice")
    rest = [name for name in known if name not in named]
    filled = [one for rule in rules for one in _filled(rule, rest)]
    for name, count in Counter(rule.new for rule in filled).items():
        if count > 1 or not name:
            raise FineSpotError(f"expected different new names but got '{name}' {count} times as a {kind}")
    if not filled:
        raise FineSpotError(f"expected a {kind} to keep but got none")
    return filled


def _parse(word: str, known: Sequence[str]) -> list[Rule]:
    """The rules of one word, `*` still in them; a name of the data set may itself hold commas and equals signs."""
    if word in known:
        return [Rule(word, (word,))]
    rules: list[Rule] = []
    merging = False
    for part in word.split(","):
        new, equals, old = (text.strip() for text in part.partition("="))
        if equals:
            rules.append(Rule(new, (old,)))
            merging = True
        elif merging:
            rules[-1] = Rule(rules[-1].new, (*rules[-1].old, new))
        else:
            rules.append(Rule(new, (new,)))
    return rules


def _filled(rule: Rule, rest: Sequence[str]) -> list[Rule]:
    """The rule with the names that `*` stands for; alone, `*` keeps each under its own name."""
    if rule == Rule(REST, (REST,)):
        return [Rule(name, (name,)) for name in rest]
    old = tuple(name for one in rule.old for name in (rest if one == REST else [one]))
    return [Rule(rule.new, old)] if old else []
