"""Typed settings: known keys, typed values, one line for what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import hypothesis
import msgspec
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from finespot.errors import FineSpotError
from finespot.training import settings


class Cat(msgspec.Struct, frozen=True, kw_only=True, tag_field="name", tag="cat"):
    claws: int = 18


class Dog(msgspec.Struct, frozen=True, kw_only=True, tag_field="name", tag="dog"):
    bark: float = 1.0


class Bed(msgspec.Struct, frozen=True, kw_only=True):
    size: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    color: Literal["red", "blue"] | None = None


class Home(msgspec.Struct, frozen=True, kw_only=True):
    name: str = "home"
    number: int | Literal["auto"] = "auto"
    pet: Cat | Dog = Cat()
    bed: Bed = Bed()
    guests: list[str] = []
    open: bool = False


def build(*words: str, **values: object) -> Home:
    tree: dict[str, object] = {}
    for word in words:
        settings.put(Home, tree, *settings.read_word(Home, word))
    for key, value in values.items():
        settings.put(Home, tree, key, value)
    return settings.build(Home, tree)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("bed.size=2", Home(bed=Bed(size=2.0))),
        ("size=1e-3", Home(bed=Bed(size=1e-3))),
        ("number=7", Home(number=7)),
        ("number=auto", Home(number="auto")),
        ("open=true", Home(open=True)),
        ("color=red", Home(bed=Bed(color="red"))),
        ("color=none", Home()),
        ("guests=ann,bob", Home(guests=["ann", "bob"])),
        ("guests=[ann, bob]", Home(guests=["ann", "bob"])),
        ("guests=ann", Home(guests=["ann"])),
        ("name=1e3", Home(name="1e3")),
        ("name=0815", Home(name="0815")),
        ("number=010", Home(number=10)),
        ("pet=dog", Home(pet=Dog())),
        ("pet.name=dog", Home(pet=Dog())),
        ("pet={name: dog, bark: 2}", Home(pet=Dog(bark=2.0))),
    ],
)
def test_words_take_the_type_of_their_field(word: str, expected: Home) -> None:
    assert build(word) == expected


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("bed.size=big", "bed.size=big: expected a number above 0 but got 'big'"),
        ("bed.size=-1", "bed.size=-1: expected a number above 0 but got '-1'"),
        ("number=1.5", "number=1.5: expected a whole number, or auto but got '1.5'"),
        ("open=maybe", "open=maybe: expected true or false but got 'maybe'"),
        ("color=green", "bed.color=green: expected one of red, blue, or null but got 'green'"),
        ("bed.sice=1", "unknown recipe key 'bed.sice'; did you mean bed.size?"),
        ("colour=red", "unknown recipe key 'colour'; did you mean bed.color?"),
        ("pet=cow", "unknown pet name 'cow'; did you mean"),
        ("bed.size=.inf", "bed.size=inf: expected a finite number but got inf"),
        ("bed.size=.nan", "expected a"),
        ("pet={name: cat", "pet={name: cat: is no valid YAML"),
        ("guests=[ann, 1]", "guests=[ann, 1]: expected a list of text but got '[ann, 1]'"),
    ],
)
def test_wrong_words_are_said_in_one_line(word: str, message: str) -> None:
    with pytest.raises(FineSpotError) as caught:
        build(word)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bare_name_in_two_sections_is_ambiguous() -> None:
    class Two(msgspec.Struct):
        a: Bed
        b: Bed

    with pytest.raises(FineSpotError, match=r"'size' is ambiguous; write one of a.size, b.size"):
        settings.full_key(Two, "size")


def test_another_kind_of_section_brings_its_own_defaults() -> None:
    tree: dict[str, object] = {"pet": {"name": "cat", "claws": 3}}
    settings.put(Home, tree, "pet.name", "dog")
    assert settings.build(Home, tree).pet == Dog()
    with pytest.raises(FineSpotError, match=r"unknown recipe key 'pet.claws': dog has none; its keys are bark$"):
        build("pet=dog", "pet.claws=3")


def test_python_values() -> None:
    assert build(bed=Bed(size=3.0), guests=["x"]) == Home(bed=Bed(size=3.0), guests=["x"])
    with pytest.raises(FineSpotError, match=r"number=2.5"):
        build(number=2.5)


def test_file_errors_name_file_and_line(tmp_path: Path) -> None:
    def load(text: str) -> Home:
        path = tmp_path / "x.yaml"
        path.write_text(text)
        tree, lines = settings.read_yaml(path)
        return settings.build(Home, tree, path, lines)

    assert load("bed:\n  size: 1e-3\n").bed.size == 1e-3
    assert load("") == Home()
    for text, message in [
        ("name: x\nbed:\n  sise: 2\n", "x.yaml:3: unknown recipe key 'bed.sise'; did you mean bed.size?"),
        ("size: 2\n", "x.yaml:1: unknown recipe key 'size'; did you mean bed.size?"),
        ("bed: {size: big}\n", "x.yaml:1: bed.size=big: expected a number above 0 but got 'big'"),
        ("bed: 3\n", "x.yaml:1: expected a section with keys at 'bed' but got 3"),
        ("name: a\nname: b\n", "the key 'name' stands twice (lines 1 and 2)"),
        ("- a\n", "expected a mapping of keys to values"),
        ("a: [\n", "is no valid YAML"),
        (f"number: {'9' * 5000}\n", "is no valid YAML (no number"),
    ]:
        with pytest.raises(FineSpotError) as caught:
            load(text)
        assert message in str(caught.value)
    with pytest.raises(FineSpotError, match="cannot be read"):
        settings.read_yaml(tmp_path / "absent.yaml")


def test_dump_and_build_are_inverse() -> None:
    home = Home(pet=Dog(bark=0.5), bed=Bed(color="blue"), guests=["a"], number=3)
    assert settings.build(Home, yaml.safe_load(settings.dump(home))) == home


@pytest.mark.slow
@hypothesis.settings(deadline=None)
@given(st.floats(min_value=1e-12, max_value=1e12))
def test_every_float_survives_a_word_and_a_file(value: float) -> None:
    assert build(f"bed.size={value!r}").bed.size == value
    assert settings.parse(settings.dump(Bed(size=value)))["size"] == value


@pytest.mark.parametrize(
    "text", ["1e5", "1e3", ".5e1", "off", "none", "~", "", "0x1F", "1_000", "12:30", "true", "- a"]
)
def test_text_that_looks_like_something_else_survives_a_file(text: str) -> None:
    dumped = settings.dump(Home(name=text, guests=[text]))
    assert settings.build(Home, settings.parse(dumped)).name == text
    assert yaml.safe_load(dumped)["guests"] == [text]


@hypothesis.settings(deadline=None)
@given(st.text())
@example("\x85")
@example("\u2028 a\r\n")
def test_every_text_survives_a_file(text: str) -> None:
    assert settings.parse(settings.dump(Home(name=text)))["name"] == text
