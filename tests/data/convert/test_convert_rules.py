"""The words that choose classes and splits."""

from __future__ import annotations

import pytest

from finespot.data.convert.rules import Rule, parse_rules
from finespot.errors import FineSpotError

KNOWN = ("person", "people", "car", "van", "small, red = car")


@pytest.mark.parametrize(
    ("words", "rules"),
    [
        ([], [(name, (name,)) for name in KNOWN]),
        (["car,van"], [("car", ("car",)), ("van", ("van",))]),
        (["van", "car"], [("van", ("van",)), ("car", ("car",))]),
        (["human=person, people", "car"], [("human", ("person", "people")), ("car", ("car",))]),
        (
            ["van,human=person,people,auto=car"],
            [("van", ("van",)), ("human", ("person", "people")), ("auto", ("car",))],
        ),
        (["a=person,b=people"], [("a", ("person",)), ("b", ("people",))]),
        (["car=person"], [("car", ("person",))]),  # a name that became free
        (["human=person", "*"], [("human", ("person",)), *((name, (name,)) for name in KNOWN[1:])]),
        (["*", "human=person"], [*((name, (name,)) for name in KNOWN[1:]), ("human", ("person",))]),
        (["vehicle=*", "person,people"], [("vehicle", KNOWN[2:]), ("person", ("person",)), ("people", ("people",))]),
        (["small, red = car"], [(KNOWN[4], (KNOWN[4],))]),  # a name with everything in it
        (["vehicle=car,*"], [("vehicle", ("car", "person", "people", "van", KNOWN[4]))]),
        (["person,people,car,van", KNOWN[4], "rest=*"], [(name, (name,)) for name in KNOWN]),
    ],
)
def test_rules(words: list[str], rules: list[tuple[str, tuple[str, ...]]]) -> None:
    assert parse_rules(words, KNOWN, "class") == [Rule(new, old) for new, old in rules]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cart"], "unknown class 'cart'; did you mean car"),
        (["car", "vehicle=car"], "the class 'car' is named twice"),
        (["x=car", "x=van"], "expected different new names but got 'x' 2 times as a class"),
        (["=car"], "expected different new names but got '' 1 times"),
        ([""], "unknown class ''"),
        (["car,,van"], "unknown class ''"),
        (["*", "x=*"], "named twice"),
    ],
)
def test_words_that_mean_nothing(words: list[str], message: str) -> None:
    with pytest.raises(FineSpotError, match=message):
        parse_rules(words, KNOWN, "class")
