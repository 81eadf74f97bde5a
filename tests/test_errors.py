from __future__ import annotations

import pytest

from finespot.errors import FineSpotError, import_extra, nearest, some, unknown


def test_message_is_one_line_in_a_fixed_order() -> None:
    error = FineSpotError("expected 5 fields but got 4\n", where="a.txt:3", hint="see docs")
    assert str(error) == "a.txt:3: expected 5 fields but got 4; see docs"
    assert str(FineSpotError("plain")) == "plain"


def test_unknown_offers_the_three_nearest() -> None:
    error = unknown("model", "yolo11m-p", ["yolo11n", "yolo11m", "yolo11m-p2", "rtdetr"])
    assert str(error).startswith("unknown model 'yolo11m-p'; did you mean yolo11m-p2, yolo11m")
    assert str(unknown("model", "x", [])) == "unknown model 'x'"


def test_nearest_always_offers_something() -> None:
    assert nearest("zzz", ["alpha", "beta"]) == ["alpha", "beta"]


def test_some_names_and_the_count_of_the_rest() -> None:
    assert some([]) == ""
    assert some(("a", "b")) == "a, b"
    assert some(["a", "b", "c", "d"], most=2) == "a, b and 2 more"


def test_missing_extra_says_how_to_install_it() -> None:
    with pytest.raises(FineSpotError, match=r"pip install 'finespot\[video\]'"):
        import_extra("no_such_module_at_all", "video")


def test_a_very_long_text_loses_its_middle() -> None:
    name = "a" * 5000
    error = FineSpotError(f"the picture {name} does not exist", where="a.txt:3", hint=f"rename {name} to b")
    assert len(str(error)) < 1300
    assert str(error).startswith("a.txt:3: the picture aaa")
    assert "aaa ... aaa" in error.what
    assert "aaa does not exist; rename aaa" in str(error)
    assert str(error).endswith("aaa to b")
