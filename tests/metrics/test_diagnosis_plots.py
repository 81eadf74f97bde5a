"""Pictures of confidences, calibration, sizes and comparisons: as images, with their words, empty cases too."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_comparison import tables  # noqa: F401
from test_plots import colorful

from finespot.metrics import calibration, compare, confidence_curves, plots, size_curve
from finespot.structures import Classes


def words(path: Path) -> str:
    """The texts of an SVG file, which matplotlib keeps as comments."""
    return "\n".join(re.findall(r"<!-- (.*?) -->", path.read_text()))


def without_objects(truth):
    return truth.select(np.zeros(0, int))


@pytest.mark.slow
def test_every_picture_as_png(tables, tmp_path) -> None:  # noqa: F811
    truth, a, b = tables
    assert colorful(plots.confidence(confidence_curves(truth, a), tmp_path / "new/confidence.png"))
    assert colorful(plots.reliability(calibration(truth, a), tmp_path / "calibration.png"))
    assert colorful(plots.size_curve(size_curve(truth, a, resamples=5), tmp_path / "size.png"))
    assert colorful(plots.comparison(compare(truth, a, b, resamples=5), tmp_path / "comparison.png"))


@pytest.mark.slow
def test_confidence(tables, tmp_path) -> None:  # noqa: F811
    truth, a, _ = tables
    curves = confidence_curves(truth, a, iou=0.6)
    text = words(plots.confidence(curves, tmp_path / "confidence.svg"))
    assert "over the confidence, IoU 0.6" in text
    best = curves.classes["c1"].best_threshold()
    assert f"c1 {best.f1:.3f} (conf {best.confidence:.2f})" in text
    assert "all together" in text
    one = next(iter(curves.classes.values()))
    many = replace(curves, classes={f"class {k}": one for k in range(40)})
    assert "class 7" not in words(plots.confidence(many, tmp_path / "many.svg"))
    nothing = confidence_curves(without_objects(truth), a.select(np.zeros(0, int)))
    assert "F1" in words(plots.confidence(nothing, tmp_path / "none.svg"))


@pytest.mark.slow
def test_reliability(tables, tmp_path) -> None:  # noqa: F811
    truth, a, _ = tables
    made = calibration(truth, a, conf=0.1)
    text = words(plots.reliability(made, tmp_path / "calibration.svg"))
    assert "calibration at IoU 0.5, score 0.1 or more" in text
    assert f"all {made.overall.ece:.3f}" in text
    assert f"small {made.sizes['small'].ece:.3f}" in text
    assert f"c0 {made.classes['c0'].ece:.3f}" in text
    assert "c3" not in text
    none = calibration(truth, a.select(np.zeros(0, int)))
    assert "by size" in words(plots.reliability(none, tmp_path / "none.svg"))


@pytest.mark.slow
def test_size_curve(tables, tmp_path) -> None:  # noqa: F811
    truth, a, _ = tables
    text = words(plots.size_curve(size_curve(truth, a, edges=(0, 9, 20), resamples=5), tmp_path / "size.svg"))
    assert "coco, 12 images" in text
    assert "bands: 95 % over images" in text
    assert {"9", "20"} < set(text.splitlines())
    assert "0" not in text.splitlines()[: text.splitlines().index("9")]
    given = size_curve(truth, a, edges=(4, 9, 200), resamples=5, iou=0.75, level=0.8)
    text = words(plots.size_curve(given, tmp_path / "given.svg"))
    assert "AP at IoU 0.75" in text
    assert "bands: 80 %" in text


@pytest.mark.slow
def test_comparison(tables, tmp_path) -> None:  # noqa: F811
    truth, a, b = tables
    compared = compare(truth, a, b, resamples=30, names=("old_$x", "new"))
    text = words(plots.comparison(compared, tmp_path / "comparison.svg"))
    assert compared.verdict.split(" (")[0].replace("$", r"\$") in text
    assert "differences, 95 % intervals over 12 images" in text
    assert "only new" in text
    assert "AP c1" in text
    assert "AP c3" not in text
    many = replace(compared, per_class={f"k{n}": compared.per_class["c0"] for n in range(60)})
    text = words(plots.comparison(many, tmp_path / "many.svg"))
    assert text.count("AP k") == 25
    nothing = compare(without_objects(truth), a, b, resamples=2)
    assert "no difference can be shown" in words(plots.comparison(nothing, tmp_path / "none.svg"))


@pytest.mark.slow
def test_names_are_not_read_as_formulas(tables, tmp_path) -> None:  # noqa: F811
    truth, a, b = tables
    truth = replace(truth, classes=Classes(("_a$", "b$c", "x", "y")))
    plots.confidence(confidence_curves(truth, a), tmp_path / "confidence.png")
    plots.reliability(calibration(truth, a), tmp_path / "calibration.png")
    assert plots.comparison(compare(truth, a, b, resamples=2), tmp_path / "comparison.png").exists()
