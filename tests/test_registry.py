from __future__ import annotations

from collections.abc import Iterator

import pytest

from finespot import registry
from finespot.errors import FineSpotError


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(registry._PACKAGES, "toy", "json")
    monkeypatch.setitem(registry._builders, "toy", {})
    return


@pytest.mark.usefixtures("table")
def test_register_and_build() -> None:
    @registry.register("toy", "pair")
    def pair(a: int, b: int = 2) -> tuple[int, int]:
        return a, b

    assert registry.build("toy", "pair", a=1) == (1, 2)
    assert registry.names("toy") == ["pair"]
    with pytest.raises(ValueError, match="registered twice"):
        registry.register("toy", "pair")(lambda: None)


@pytest.mark.usefixtures("table")
def test_unknown_name_offers_the_nearest() -> None:
    registry.register("toy", "pafpn")(dict)
    with pytest.raises(FineSpotError, match="unknown toy 'pafp'; did you mean pafpn"):
        registry.lookup("toy", "pafp")


@pytest.mark.usefixtures("table")
def test_dotted_path_reaches_code_outside() -> None:
    assert registry.build("toy", "fractions:Fraction", numerator=3) == 3
    for path in ("no.such.module:X", "math:nothing"):
        with pytest.raises(FineSpotError, match="cannot import the toy"):
            registry.lookup("toy", path)
    with pytest.raises(FineSpotError, match="is called with"):
        registry.build("toy", "textwrap:indent", x=3)
    with pytest.raises(FineSpotError, match="expected a class or function"):
        registry.lookup("toy", "math:pi")


def test_unknown_kind_is_a_mistake_in_the_code() -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        registry.names("spoon")


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("atss", "atss", {}),
        ("atss(topk=9)", "atss", {"topk": 9}),
        (" nwd( constant = 12.8 , mean=1e-3) ", "nwd", {"constant": 12.8, "mean": 1e-3}),
        ("a(x=true, y=null, z=False, w=word, v=-2)", "a", {"x": True, "y": None, "z": False, "w": "word", "v": -2}),
        ("inner(over=focaler(d=0.1, u=1), ratio=2)", "inner", {"over": "focaler(d=0.1, u=1)", "ratio": 2}),
        ("my.module:Name(a=1)", "my.module:Name", {"a": 1}),
        ("plain()", "plain", {}),
    ],
)
def test_calls_are_read(text: str, name: str, options: dict[str, object]) -> None:
    assert registry.parse_call(text) == (name, options)


@pytest.mark.parametrize(
    "text", ["", "a(", "a)", "a(b)", "a(=1)", "a(b=)", "a(b=1,b=2)", "a b", "a((b=1)", "1a", "a(b=1))("]
)
def test_calls_that_are_none(text: str) -> None:
    with pytest.raises(FineSpotError, match="expected 'name' or"):
        registry.parse_call(text)


@pytest.mark.usefixtures("table")
def test_make_offers_what_a_part_takes() -> None:
    registry.register("toy", "pair")(lambda a, b=2: (a, b))
    registry.register("toy", "any")(lambda **given: given)
    assert registry.make("toy", "pair", a=1, c=5) == (1, 2)
    assert registry.make("toy", "pair(b=7, a=3)", a=1) == (3, 7)
    assert registry.make("toy", "any(x=1)", y=2) == {"x": 1, "y": 2}
    with pytest.raises(FineSpotError, match=r"unknown option of the toy 'pair' 'bb'; did you mean b"):
        registry.make("toy", "pair(bb=1)", a=1)
    with pytest.raises(FineSpotError, match=r"the toy 'pair' wants 'a'.*pair\(a=\.\.\.\)"):
        registry.make("toy", "pair")


@pytest.mark.usefixtures("table")
def test_values_of_another_type_are_refused() -> None:
    def part(width: int, rate: float = 0.5, kind: str | None = None, inputs: tuple[int, ...] = ()) -> int:
        return width

    registry.register("toy", "part")(part)
    assert registry.make("toy", "part(width=3, rate=1, kind=null, inputs=any)") == 3
    for text, message in (
        ("part(width=many)", "toy 'part': expected width to be a whole number but got 'many'"),
        ("part(width=true)", "expected width to be a whole number but got 'True'"),
        ("part(width=1, rate=fast)", "expected rate to be a number but got 'fast'"),
        ("part(width=1, kind=3)", "expected kind to be a word or null but got '3'"),
    ):
        with pytest.raises(FineSpotError, match=message):
            registry.make("toy", text)


@pytest.mark.usefixtures("table")
def test_what_a_part_takes() -> None:
    registry.register("toy", "pair")(lambda a, b=2: (a, b))
    registry.register("toy", "any")(lambda **given: given)
    assert registry.takes("toy", "pair", "b")
    assert not registry.takes("toy", "pair(b=3)", "b")
    assert not registry.takes("toy", "pair", "c")
    assert registry.takes("toy", "any", "c")
