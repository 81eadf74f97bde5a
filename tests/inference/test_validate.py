"""Validation: the same detections as prediction, the data set's ids and classes, limits, notes."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image as Pillow

from finespot import metrics
from finespot.data import open_dataset
from finespot.errors import FineSpotError
from finespot.inference import Model, Timing, draw_predictions, draw_report, validate
from finespot.inference.validate import match_classes
from finespot.metrics import score
from finespot.runtimes import Session
from finespot.structures import Classes, Detections, Tiling


@pytest.fixture(scope="session")
def dataset(samples):
    return open_dataset(f"hit-uav:{samples}", "val")


@pytest.fixture(scope="session")
def validation(session, dataset):
    return validate(session, dataset, conf=0.05)


def test_detections_are_those_of_prediction(session, dataset, validation) -> None:
    """Multi-label apart, prediction and validation are one pipeline: with one class they agree to the bit."""
    for index, found in enumerate(validation.detections):
        assert found.source == dataset.path(index)
        assert found.size == dataset.annotations(index).size
    single = _OneLabel(session)
    found = validate(single, dataset, conf=0.3, batch=1).detections
    paths = [dataset.path(i) for i in range(len(dataset))]
    for one, other in zip(found, Model(session).predict(paths, conf=0.3)):
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_array_equal(one.scores, other.scores)


class _OneLabel:
    """A session whose head ignores the wish for several labels."""

    def __init__(self, session) -> None:
        self._session, self.head, self.suppress = session, self, True

    def select(self, raw, conf, multi_label):
        assert multi_label
        return self._session.select(raw, conf)

    def __getattr__(self, name):
        return getattr(self._session, name)


def test_report_is_the_one_of_the_written_files(samples, dataset, validation, tmp_path) -> None:
    path = validation.to_coco(tmp_path / "out" / "results.json")
    again = score(samples / "annotations" / "val.json", path)
    assert again.values == pytest.approx(validation.report.values, nan_ok=True)
    records = json.loads(path.read_text())
    assert {record["image_id"] for record in records} <= set(validation.image_ids)
    assert {record["category_id"] for record in records} <= set(dataset.classes.original_ids)
    assert len(records) == sum(map(len, validation.detections))


def test_truth_as_detections_scores_full_marks(dataset) -> None:
    perfect = []
    for index in range(len(dataset)):
        truth = dataset.annotations(index)
        truth = truth.select(~truth.ignore)
        perfect.append(Detections(truth.boxes, np.ones(len(truth)), truth.labels, truth.size, dataset.classes))
    ids = [dataset.image_id(i) for i in range(len(dataset))]
    truth = metrics.Truth.from_annotations([dataset.annotations(i) for i in range(len(dataset))], dataset.classes, ids)
    report = metrics.evaluate(truth, metrics.Results.from_detections(perfect, truth), metrics.protocol("coco"))
    assert report.values["AP"] == pytest.approx(1)


def test_speed_and_progress(session, dataset) -> None:
    calls = []
    result = validate(session, dataset, conf=0.3, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert list(result.speed) == ["decode", "prepare", "model", "postprocess"]
    assert all(value > 0 for value in result.speed.values())
    assert result.rate > 0
    assert result.timing.pictures == 4


@pytest.mark.slow
def test_options_have_effects(session, dataset, validation) -> None:
    count = lambda **options: sum(map(len, validate(session, dataset, **options).detections))  # noqa: E731
    plain = sum(map(len, validation.detections))
    assert count(conf=0.3) < plain
    assert count(conf=0.05, iou=0.3) < plain
    assert count(conf=0.05, nms="nwd(constant=1000)") < plain
    assert count(conf=0.05, max_det=3) == 12
    assert count(conf=0.3, imgsz=96) != count(conf=0.3)
    assert validate(session, dataset, conf=0.3, tiling=Tiling(320, 0.0)).timing.windows == 16
    ai_tod = validate(session, dataset, conf=0.3, protocol="ai-tod")
    assert set(ai_tod.report.values) != set(validation.report.values)
    assert validate(session, dataset, conf=0.3, imgsz=100).notes[-1].startswith("imgsz 100")


@pytest.mark.slow
def test_the_report_says_how_it_was_made(session, dataset) -> None:
    made = validate(session, dataset, conf=0.3, iou=0.5, imgsz=150, tiling=Tiling(320, 0.1), max_det=50)
    assert made.report.to_json("val")["settings"] == {
        "conf": 0.3,
        "iou": 0.5,
        "nms": "greedy",
        "imgsz": 150,
        "tiling": {"size": 320, "overlap": 0.1},
        "max_det": 50,
    }
    assert made.report.notes[-1] == "at most 50 detections of a picture were kept; coco looks at 100 of each class"
    assert made.notes[-2] == "tiles of 320 px are scaled to 150 px"
    free = validate(session, dataset, conf=0.3, imgsz=96, protocol="uavdt").report
    assert free.settings["max_det"] == 10_000
    free = validate(session, dataset, conf=0.3, imgsz=96, protocol="uavdt", max_det=300).report
    assert free.notes[-1] == "at most 300 detections of a picture were kept; uavdt looks at all"
    few = validate(session, dataset, conf=0.3, imgsz=96, protocol="visdrone", max_det=9).report
    assert few.notes[-1] == "at most 9 detections of a picture were kept; visdrone looks at 500"
    plain = validate(session, dataset, conf=0.3, imgsz=150).report
    assert (plain.settings["imgsz"], plain.settings["tiling"], plain.settings["max_det"]) == (160, None, 300)
    assert not [note for note in plain.notes if "were kept" in note]


def test_notes_on_suppression(session, dataset) -> None:
    soft = validate(session, dataset, conf=0.3, nms="soft")
    assert "iou 0.7 is left out: nms soft takes no threshold" in soft.notes
    assert soft.report.settings["nms"] == "soft"

    free = _OneLabel(session)
    free.suppress = False
    assert "nms diou is left out: the head of this network finds no doubles" in validate(
        free, dataset, conf=0.3, nms="diou"
    ).notes  # fmt: skip
    assert not [note for note in validate(free, dataset, conf=0.3).notes if "nms" in note]


def test_pictures_that_are_not_cut_are_counted(session, dataset) -> None:
    assert validate(session, dataset, conf=0.3, tiling=Tiling(640)).notes[-1].startswith("4 of 4 pictures were not cut")


def test_several_protocols_score_one_pass(session, dataset) -> None:
    made = validate(session, dataset, conf=0.3, protocol=["ai-tod", metrics.protocol("coco")])
    assert [one.protocol.name for one in made.reports] == ["ai-tod", "coco"]
    assert made.report is made.reports[0]
    for one in made.reports:
        alone = validate(session, dataset, conf=0.3, protocol=one.protocol, max_det=1500).report
        assert one.values == pytest.approx(alone.values, nan_ok=True)
        assert one.settings["max_det"] == 1500, "the largest limit of all"
    with pytest.raises(FineSpotError, match="protocol: expected a protocol or more"):
        validate(session, dataset, protocol=[])


def test_max_det_follows_the_protocol(session, dataset, monkeypatch) -> None:
    seen = []
    monkeypatch.setattr(
        importlib.import_module("finespot.inference.validate"),  # the package holds a function of that name
        "walk",
        lambda session, entries, settings, timing: seen.append(settings) or iter(()),
    )
    for protocol in ("coco", "ai-tod"):
        with pytest.raises(FineSpotError):  # no detections for four pictures
            validate(session, dataset, protocol=protocol)
    assert [settings.max_det for settings in seen] == [300, 1500]
    assert (seen[0].conf, seen[0].iou, seen[0].multi_label) == (0.001, 0.7, True)


def test_it_is_deterministic(session, dataset, validation) -> None:
    again = validate(session, dataset, conf=0.05)
    for one, other in zip(validation.detections, again.detections):
        np.testing.assert_array_equal(one.boxes, other.boxes)
    assert again.report.values == pytest.approx(validation.report.values, nan_ok=True)


def test_classes_are_matched_by_name(detector, card, dataset, validation) -> None:
    shuffled = Classes(("Car", "Boat", "Person", "Bicycle"))
    changed = Session(detector, card=msgspec.structs.replace(card, classes=shuffled), threads=1)
    result = validate(changed, dataset, conf=0.3)
    assert {found.classes for found in result.detections} == {dataset.classes}
    notes = "; ".join(result.notes)
    assert "does not have are left out: Boat" in notes
    assert "never found: OtherVehicle" in notes
    labels, _ = match_classes(shuffled, dataset.classes)
    assert labels.tolist() == [1, -1, 0, 2]


def test_no_common_class_is_an_error(detector, card, dataset) -> None:
    strange = Session(detector, card=msgspec.structs.replace(card, classes=Classes(("a", "b", "c", "d"))), threads=1)
    with pytest.raises(FineSpotError, match="matched by name"):
        validate(strange, dataset)


def test_a_network_without_names_is_matched_by_place(detector, dataset) -> None:
    unnamed = Session(detector, threads=1)
    assert unnamed.classes.names == ("0", "1", "2", "3")
    assert len(validate(unnamed, dataset, conf=0.3, imgsz=160).notes) == len(dataset.notes)


def test_unreadable_picture_ends_the_validation(session, dataset) -> None:
    class Broken:
        def __getattr__(self, name):
            return getattr(dataset, name)

        def __len__(self):
            return len(dataset)

        def image(self, index):
            raise FineSpotError("broken", where="x.jpg")

    with pytest.raises(FineSpotError, match=r"x\.jpg: broken"):
        validate(session, Broken())


def test_timing_sums_and_words() -> None:
    timing = Timing(waiting=0.5, total=2.0, pictures=4)
    with timing.stage("model", iter([1.0, 3.0]).__next__):
        pass
    assert timing.cpu["model"] == 2
    assert timing.per_picture(cpu=True)["model"] == 500
    assert timing.rate == 2
    assert "25 % waiting" in timing.summary()
    assert replace(timing, total=0.0).rate == 0


def test_pictures_of_a_validation(dataset, validation, tmp_path) -> None:
    files = draw_predictions(dataset, validation.detections, tmp_path / "p", 0.3, count=2)
    # From all over the split: neighbors are often frames of one flight.
    assert [path.stem for path in files] == [Path(dataset.path(i)).stem for i in (0, 3)]
    few = draw_predictions(dataset, validation.detections, tmp_path / "q", 0.99, count=1)
    assert files[0].read_bytes() != few[0].read_bytes()
    assert Pillow.open(files[0]).width > 2 * 640


@pytest.mark.slow  # imports matplotlib
def test_report_pictures(dataset, validation, tmp_path) -> None:
    for path in draw_report(validation, dataset.classes, tmp_path / "plots", 0.25):
        assert Pillow.open(path).width > 300
