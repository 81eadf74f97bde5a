"""Study files: the layers of a row's recipe, what is shared, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from finespot.errors import FineSpotError
from finespot.studies import Study, load_study
from finespot.training import Recipe, load_recipe

ROWS = """
base: {model: yolo11n, lr: 0.02}
rows:
  plain: {}
  wide:
    set: {options: {p2: true}, optimizer.momentum: 0.8}
  wide and high:
    of: wide
    group: high
    note: twice
    set: {lr: 0.04, options.more: 1}
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def recipes(study: Study) -> dict[str, Recipe]:
    return {row.name: row.recipe for row in study.rows}


def refused(tmp_path: Path, text: str, *words: str, **options: object) -> None:
    with pytest.raises(FineSpotError) as caught:
        load_study(written(tmp_path, text), **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_rows_lie_on_the_rows_that_they_name_and_on_the_base(tmp_path: Path) -> None:
    study = load_study(written(tmp_path, ROWS))
    plain, wide, high = recipes(study).values()
    assert (plain.options, plain.optimizer.lr) == ({}, 0.02)
    assert (wide.options, wide.optimizer.lr, wide.optimizer.momentum) == ({"p2": True}, 0.02, 0.8)  # type: ignore[union-attr]
    assert (high.options, high.optimizer.lr, high.optimizer.momentum) == ({"p2": True, "more": 1}, 0.04, 0.8)  # type: ignore[union-attr]
    assert study.row("wide and high").changes == {"optimizer.lr": 0.04, "options.more": 1}
    assert (study.name, study.baseline, study.recipe, study.seeds) == ("mine", "plain", "default", (0,))
    assert (study.row("wide and high").group, study.row("wide and high").note) == ("high", "twice")


def test_an_optimizer_of_another_kind_keeps_nothing_of_the_base(tmp_path: Path) -> None:
    text = "base: {lr: 0.02}\nrows: {a: {}, b: {set: {optimizer: {name: adamw}}}}"
    plain, other = recipes(load_study(written(tmp_path, text))).values()
    assert plain.optimizer.lr == 0.02
    assert other.optimizer == load_recipe(overrides=["optimizer=adamw"]).optimizer


def test_all_rows_are_trained_to_the_end(tmp_path: Path) -> None:
    assert load_recipe().patience > 0
    assert {recipe.patience for recipe in recipes(load_study(written(tmp_path, ROWS))).values()} == {0}


def test_the_recipe_is_that_of_the_base_model_for_all_rows(tmp_path: Path) -> None:
    study = load_study(written(tmp_path, "base: {model: yolox-s}\nrows: {a: {}, b: {set: {model: yolo11n}}}"))
    assert study.recipe == "yolox"
    assert {recipe.close_mosaic for recipe in recipes(study).values()} == {load_recipe("yolox").close_mosaic}
    named = load_study(written(tmp_path, "recipe: rtdetr\nbase: {model: yolox-s}\nrows: {a: {}}"))
    assert (named.recipe, named.rows[0].recipe.optimizer) == ("rtdetr", load_recipe("rtdetr").optimizer)


def test_the_command_says_what_holds_for_all_rows(tmp_path: Path) -> None:
    given = {"epochs": 3, "augment.mosaic": 0.5}
    study = load_study(written(tmp_path, ROWS), "coco:x", seeds=[4, 5], protocol="ai-tod", overrides=given)
    assert study.seeds == (4, 5)
    assert "AP_vt" in study.labels
    for recipe in recipes(study).values():
        assert (recipe.data, recipe.epochs, recipe.augment.mosaic, recipe.val.protocol) == ("coco:x", 3, 0.5, "ai-tod")


@pytest.mark.slow
def test_the_command_does_not_undo_a_row(tmp_path: Path) -> None:
    refused(tmp_path, ROWS, "row 'wide'", "options.p2=False for all rows", overrides={"options.p2": False})
    refused(tmp_path, ROWS, "row 'wide'", "changes optimizer", overrides={"optimizer": "adamw"})
    refused(tmp_path, ROWS, "row 'wide and high'", "optimizer.lr=0.5", overrides={"lr": 0.5})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title: nothing", ["mine.yaml", "expected rows but got none"]),
        ("rows: {a: {}}\nrwos: {}", ["unknown study key 'rwos'", "mine.yaml:2", "did you mean rows"]),
        ("rows:\n  a:\n    sets: {}", ["unknown key of a row 'sets'", "mine.yaml:3", "did you mean set"]),
        ("rows:\n  a: {}\n  b:\n    set:\n      epoch: 3", ["unknown recipe key 'epoch'", "mine.yaml:5", "epochs"]),
        ("rows:\n  a: {}\n  a: {}", ["'rows.a' stands twice (lines 2 and 3)"]),
        ("rows:\n  a: {}\n  b: {}", ["the rows 'a' and 'b' train the same recipe"]),
        ("rows: {a: {set: {lr: quick}}}", ["row 'a'", "optimizer.lr=quick", "expected a number"]),
        ("rows: {a: {}, b: {set: {data: other}}}", ["row 'b'", "data cannot be set here", "--data"]),
        ("rows: {a: {}, b: {set: {splits: {val: test}}}}", ["row 'b'", "splits.val cannot be set here"]),
        ("rows: {a: {}, b: {set: {epochs: 3}}}", ["row 'b'", "epochs cannot be set here", "--epochs"]),
        ("rows: {a: {}, b: {set: {patience: 5}}}", ["row 'b'", "patience cannot be set here", "last epoch"]),
        ("rows: {a: {}, b: {set: {seed: 5}}}", ["row 'b'", "seed cannot be set here", "--seeds"]),
        ("rows: {a: {}, b: {set: {val: {protocol: ai-tod}}}}", ["row 'b'", "val.protocol cannot be set here"]),
        ("rows: {a: {}, b: {set: {claimed: null}}}", ["row 'b'", "claimed cannot be set here", "beside set"]),
        ("base: {patience: 9}\nrows: {a: {}}", ["base", "patience cannot be set here"]),
        ("rows: {a: {of: b}, c: {}}", ["row 'a'", "unknown row 'b'", "did you mean"]),
        ("rows: {a: {of: b}, b: {of: a}}", ["builds on itself (a of b of a)"]),
        ("baseline: z\nrows: {a: {}}", ["baseline", "unknown row 'z'"]),
        ("rows: {a/b: {}}", ["expected a row name", "'a/b'"]),
        ("rows: {'a,b': {}}", ["expected a row name", "'a,b'"]),
        ("rows:\n  a: {}\n  A: {set: {lr: 1}}", ["mine.yaml:3", "'a' and 'A'", "one folder"]),
        ("rows:\n  1: {}", ["mine.yaml:2", "expected a row name in text but got 1; put it in quotes"]),
        ("rows: {a: 3}", ["expected keys with values at 'rows.a' but got 3"]),
        ("rows: [a]", ["rows=['a']"]),
        ("protocol: voc\nrows: {a: {}}", ["unknown protocol 'voc'"]),
        ("seeds: [1, 1]\nrows: {a: {}}", ["seeds", "each once", "[1, 1]"]),
        ("seeds: []\nrows: {a: {}}", ["seeds", "got []"]),
        ("seeds: [-1]\nrows: {a: {}}", ["seeds=[-1]", "expected"]),
        ("seeds: [9223372036854775808]\nrows: {a: {}}", ["seeds=[9223372036854775808]", "expected"]),
        ("base: {devices: 2}\nrows: {a: {}}", ["expected one device", "--rows"]),
        ("rows: {a: {claimed: {AP: 27}}}", ["row 'a'", "expected a protocol in text", "once for all rows"]),
        ("claimed: {AP: 27}\nrows: {a: {}}", ["unknown key of all claims 'AP'"]),
        ("rows: {a: {claimed: {APs: 27, protocol: x, source: y}}}", ["unknown claimed value 'APs'", "did you mean"]),
        ("rows: {a: {claimed: {AP: 270, protocol: x, source: y}}}", ["expected AP in percent", "270"]),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, text: str, words: list[str]) -> None:
    refused(tmp_path, text, *words)


def test_seeds_of_the_command_are_those_of_a_recipe(tmp_path: Path) -> None:
    assert load_study(written(tmp_path, "rows: {a: {}}"), seeds=[2**63 - 1]).seeds == (2**63 - 1,)
    refused(tmp_path, "rows: {a: {}}", "seeds", "below 2^63", "[9223372036854775808]", seeds=[2**63])


def test_unknown_studies_and_files() -> None:
    with pytest.raises(FineSpotError, match="unknown study 'pp2'; did you mean p2"):
        load_study("pp2")
    with pytest.raises(FineSpotError, match=r"absent\.yaml: no such study file"):
        load_study("absent.yaml")


def test_claims_say_protocol_and_source_once(tmp_path: Path) -> None:
    text = """
claimed: {protocol: theirs, source: paper}
rows:
  a: {claimed: {AP: 27.5, parameters: 13560000}}
  b: {set: {lr: 0.5}, claimed: {AP50: 40, source: thesis}}
  c: {set: {lr: 0.6}}
"""
    first, second, third = (row.claim for row in load_study(written(tmp_path, text)).rows)
    assert first is not None
    assert (first.values, first.protocol, first.source) == ({"AP": 27.5, "parameters": 13560000}, "theirs", "paper")
    assert second is not None
    assert (second.values, second.source) == ({"AP50": 40}, "thesis")
    assert third is None


def test_no_row_has_the_claim_of_the_recipe_that_it_starts_from(tmp_path: Path) -> None:
    study = load_study(written(tmp_path, "recipe: yolo-sod-visdrone\nrows: {a: {}, b: {set: {lr: 0.5}}}"))
    assert [row.recipe.claimed for row in study.rows] == [None, None]
    assert [row.claim for row in study.rows] == [None, None]
