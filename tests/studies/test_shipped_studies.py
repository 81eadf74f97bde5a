"""The studies that come with the package."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from finespot import studies
from finespot.studies import study_names
from finespot.studies.costs import count

load_study = cache(studies.load_study)
DOCS = Path(__file__).parents[2] / "docs" / "systems"


@pytest.mark.slow
@pytest.mark.parametrize("name", study_names())
def test_every_row_is_a_recipe_of_its_own(name: str) -> None:
    study = load_study(name)
    assert len(study.rows) >= 2
    assert len(study.seeds) >= 3
    assert study.title != study.name
    for row in study.rows:
        assert row.recipe.patience == 0
        assert row.recipe.epochs == study.rows[0].recipe.epochs
        assert row.recipe.val.protocol == study.protocol
        if row.claim is not None:
            assert row.claim.source
            assert row.claim.values.keys() <= {*study.labels, "parameters", "gflops"}


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(slice(1), marks=pytest.mark.slow, id="first"),
        pytest.param(slice(1, None), marks=pytest.mark.full, id="others"),
    ],
)
@pytest.mark.parametrize("name", study_names())
def test_every_row_can_be_built_and_counted(name: str, part: slice) -> None:
    rows = load_study(name).rows[part]
    costs = count(rows, None)
    assert all(costs[row.name].gflops > 0 for row in rows)


@pytest.mark.slow
def test_claims_are_those_of_the_papers() -> None:
    both = load_study("sarl-yolox").row("both").claim
    assert both is not None
    assert both.values == {
        "AP": 26.6,
        "AP50": 59.1,
        "AP75": 20.8,
        "AP_vt": 10.0,
        "AP_t": 26.0,
        "AP_s": 33.7,
        "AP_m": 39.9,
    }
    lrs = load_study("lrs-detr").row("lrs-detr-b-published").claim
    assert lrs is not None
    assert (lrs.values["AP"], lrs.values["AP50"], lrs.values["gflops"]) == (22.7, 39.2, 66.6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("study", "row", "page"),
    [
        ("yolo-sod", "E1", "| E1 | 23.8 / 39.6 |"),
        ("yolo-sod", "E2", "| E2 | 27.1 / 44.5 |"),
        ("yolo-sod", "E3", "| E3 | 26.1 / 43.2 |"),
        ("yolo-sod", "E4", "| E4 | 26.9 / 44.2 |"),
        ("yolo-sod", "E5", "| E5 | 27.1 / 44.5 |"),
        ("yolo-sod", "E6", "| E6 | 27.3 / 44.8 |"),
        ("yolo-sod", "full", "| full | 27.5 / 46.1 |"),
        ("sarl-yolov5", "sarl", "| AI-TOD test, VI, YOLOv5 | SARL / SAL | 27.4 / 28.8 | 61.5 / 62.2 |"),
        ("sarl-yolov5", "sal", "| AI-TOD test, VI, YOLOv5 | SARL / SAL | 27.4 / 28.8 | 61.5 / 62.2 |"),
        ("sarl-yolov5", "both", "| | both | 29.6 | 62.6 |"),
        ("sarl-yolox", "yolox", "| AI-TOD test, V | alone | 22.2 | 52.4 |"),
        ("sarl-yolox", "both", "| | both | 26.6 | 59.1 |"),
    ],
)
def test_claims_are_those_of_the_page(study: str, row: str, page: str) -> None:
    claim = load_study(study).row(row).claim
    assert claim is not None
    text = (DOCS / f"{'yolo-sod' if study == 'yolo-sod' else 'sarl-sal'}.md").read_text()
    assert page in text
    for name in ("AP", "AP50"):
        assert f"{claim.values[name]:.1f}" in page
    if study == "sarl-yolov5":
        assert claim.source.endswith("table VI")
