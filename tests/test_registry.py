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
