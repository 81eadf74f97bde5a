"""One class table for all splits, and the classes that a user wants: kept, renamed, merged, left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from finespot.data.convert.pool import Pool
from finespot.data.convert.rules import Rule
from finespot.errors import unknown
from finespot.structures import ANY_CLASS, Classes

# What becomes of the objects of a class that is not kept.
OTHERS = ("drop", "ignore")


def unify(pools: Sequence[Pool]) -> tuple[list[Pool], list[str]]:
    """The pools under one class table, that of the first with what only later ones have behind it; and what to say."""
    first = pools[0].classes
    if all(pool.classes == first for pool in pools):
        return list(pools), []
    names = list(dict.fromkeys(name for pool in pools for name in pool.classes))
    ids = {name: number for pool in reversed(pools) for name, number in zip(pool.classes, pool.classes.original_ids)}
    clash = len(set(ids.values())) < len(ids)
    classes = Classes(tuple(names), () if clash else tuple(ids[name] for name in names))
    relabelled = [pool.relabel([names.index(name) for name in pool.classes], classes) for pool in pools]
    return relabelled, [f"the splits do not have the same class table; joined by name: {', '.join(names)}"]


def chosen(pool: Pool, rules: Sequence[Rule], others: str = "drop") -> tuple[Pool, Counter[str]]:
    """The pool with the classes that the rules make, and how many annotations of each other class there were.

    These others are dropped, or become ignore regions without a class (`ignore`). A new class has the id of the first
    that it is made of.

    Raises
    ------
    FineSpotError
        `others` is neither.
    """
    if others not in OTHERS:
        raise unknown("choice for the classes not kept", others, OTHERS)
    old = pool.classes
    table = [ANY_CLASS] * len(old)
    for label, rule in enumerate(rules):
        for name in rule.old:
            table[old.index(name)] = label
    labels = pool.rows.labels
    foreign = np.concatenate([np.asarray(table) == ANY_CLASS, [False]])[labels]
    left = Counter({old[label]: int(count) for label, count in zip(*np.unique(labels[foreign], return_counts=True))})
    classes = Classes(
        tuple(rule.new for rule in rules), tuple(old.original_ids[old.index(rule.old[0])] for rule in rules)
    )
    if others == "drop":
        pool = pool.keep(~foreign)
    return pool.relabel(table, classes), left
