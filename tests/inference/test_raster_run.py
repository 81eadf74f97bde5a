"""Detection in a raster: the same as in one array, in parts of it only where asked, and on from where it was killed."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from spots import Brightness, Spots, spot

from finespot import images
from finespot.errors import FineSpotError
from finespot.images import Raster, RasterView
from finespot.inference import JOURNAL, Journal, Model, RasterRun, Settings, load, load_seeker
from finespot.inference.prepare import Scaling
from finespot.runtimes import Session
from finespot.structures import Detections, Tiling
from finespot.tiling import Mask, Polygons
from raster_factory import write_raster

CONF = 0.1
TILES = Tiling(128, 0.25)


@pytest.fixture(scope="module")
def session() -> Session:
    """The bundled network: one that knows objects draws no box far beyond its window."""
    return load("hit-uav-n", threads=1).session


@pytest.fixture(scope="module")
def pixels(samples: Path) -> np.ndarray:
    picture = images.open_image(samples / "images" / "val" / "1_70_70_0_07716.jpg")
    return np.ascontiguousarray(images.to_rgb8(picture.read(None), 8)[100:500, 400:620])


@pytest.fixture(scope="module")
def path(pixels: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raster")
    return write_raster(folder / "a.tif", pixels, tiled=True, blockxsize=64, blockysize=64)


@pytest.fixture
def view(path: Path):
    with Raster(path) as raster:
        yield RasterView(raster)


def settings(tiling: Tiling = TILES, **options) -> Settings:
    return Settings(**({"scaling": Scaling(128, 32, tiling), "conf": CONF, "iou": 0.5} | options))


def joined(found: list[Detections]) -> np.ndarray:
    table = np.concatenate([np.column_stack([one.boxes, one.scores, one.labels]) for one in found])
    return table[np.lexsort(table.T)]


@pytest.mark.parametrize("tiling", [TILES, replace(TILES, merge="nmm"), Tiling(4000), Tiling(350, 0.1)])
def test_as_in_one_array(session: Session, view: RasterView, pixels: np.ndarray, tiling: Tiling) -> None:
    whole = next(Model(session).predict(pixels, tiling=tiling, imgsz=128, conf=CONF, iou=0.5, max_det=10**6))
    run = RasterRun(session, view, settings(tiling))
    found = list(run)
    assert len(whole) > (0 if tiling.size == 4000 else 5)
    assert np.array_equal(joined(found), joined([whole]))
    assert {one.size for one in found} == {(400, 220)}
    assert run.found == len(whole)
    assert run.seen == run.windows == run.timing.windows


def test_detections_come_before_the_end(session: Session, view: RasterView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finespot.inference.raster._REACH", 1)
    run = RasterRun(session, view, settings())
    next(iter(run))
    assert run.found > 0
    assert run.seen < run.windows


def test_no_more_than_a_window_is_read(session: Session, view: RasterView, monkeypatch: pytest.MonkeyPatch) -> None:
    areas = []
    real = Raster.read
    monkeypatch.setattr(Raster, "read", lambda self, w: areas.append((w[2] - w[0]) * (w[3] - w[1])) or real(self, w))
    run = RasterRun(session, view, settings())
    list(run)
    assert areas == [128 * 128] * run.windows


def test_windows_without_data_are_not_run(session: Session, pixels: np.ndarray, tmp_path: Path) -> None:
    dark = np.maximum(pixels, 1)
    dark[:, :130] = 0
    with Raster(write_raster(tmp_path / "a.tif", dark, nodata=0)) as raster:
        run = RasterRun(session, RasterView(raster), settings())
        found = list(run)
    assert run.empty == 4
    assert run.seen == run.timing.windows == run.windows - 4
    saved = 4 * run.timing.wall["model"] / (run.windows - 4)
    assert run.summary()[0] == (
        f"4 of {run.windows} windows hold nothing but nodata and were not run: about {saved:.1f} s saved"
    )
    assert sum(map(len, found))


def test_nothing_but_nodata(session: Session, tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.zeros((200, 200, 3), np.uint8), nodata=0)
    with Raster(path) as raster, pytest.raises(FineSpotError, match="nothing but nodata"):
        list(RasterRun(session, RasterView(raster), settings()))


def test_only_the_region_is_looked_at(session: Session, view: RasterView) -> None:
    left = Polygons(((np.array([[0, 0], [90, 0], [90, 400], [0, 400.0]]),),))
    everywhere = list(RasterRun(session, view, settings()))
    run = RasterRun(session, view, settings(), region=left)
    found = list(run)
    assert run.outside == run.seen == 4
    assert "4 of 8 windows lie outside the region and were not read" in run.summary()
    centers = np.concatenate([(one.boxes[:, :2] + one.boxes[:, 2:]) / 2 for one in found])
    assert len(centers)
    assert (centers[:, 0] < 90).all()
    assert sum(map(len, found)) < sum(map(len, everywhere))


class TestSeeker:
    PLACES = ((40, 40), (60, 900), (700, 560), (740, 600), (1290, 1090), (590, 300))

    @pytest.mark.parametrize("fit", ["letterbox", "stretch"])
    def test_only_parts_with_something_hot_are_run(self, tmp_path: Path, fit: str) -> None:
        tiling, found = Tiling(640, 64), []
        field = write_raster(tmp_path / "a.tif", spot((1100, 1300), *self.PLACES))
        chosen = Settings(scaling=Scaling(640, 32, tiling, fit), conf=0.1, iou=0.5)
        for seeker in (None, Brightness()):
            session = Spots()
            with Raster(field) as raster:
                run = RasterRun(session, RasterView(raster), chosen, seeker=seeker)  # type: ignore[arg-type]
                found.append(joined(list(run)))
        assert len(found[0]) == len(self.PLACES)
        assert np.array_equal(*found)
        # Each tile sees what is nearer to its middle than to its neighbor's; two spots share a part.
        assert session.windows == run.seen == 5
        assert {shape[1:] for shape in session.shapes} == {(3, 224, 224)}
        assert (run.windows, run.cold, run.worth) == (6, 2, pytest.approx(5 * 0.35**2))
        assert run.summary()[0] == (
            "90 % of 6 windows skipped: 2 had nothing hot, of the others 5 parts ran, as much as 0.6 windows, "
            "0.4 % of objects lost on val (seeker calibrated for 99 %)"
        )
        window, look, gain, what = re.fullmatch(
            r"a window takes ([\d.]+) ms, the seeker ([\d.]+) ms of each: about ([\d.]+) s (saved|lost)",
            run.summary()[1],
        ).groups()  # type: ignore[union-attr]
        saved = ((6 - run.worth) * float(window) - 6 * float(look)) / 1000
        assert float(gain) == pytest.approx(abs(saved), abs=0.051 + 0.0006)
        assert what == ("saved" if saved > 0 else "lost")

    def test_only_what_is_in_the_region_is_run(self, tmp_path: Path) -> None:
        session, field = Spots(), write_raster(tmp_path / "a.tif", spot((640, 640), (60, 60), (500, 60), (60, 500)))
        corner = Polygons(((np.array([[0, 0], [100, 0], [100, 100], [0, 100.0]]),),))
        chosen = Settings(scaling=Scaling(640, 32, Tiling(640, 64)), conf=0.1, iou=0.5)
        with Raster(field) as raster:
            run = RasterRun(session, RasterView(raster), chosen, region=corner, seeker=Brightness())  # type: ignore[arg-type]
            assert sum(map(len, run)) == 1
        assert session.shapes == [(1, 3, 224, 224)]

    def test_nothing_hot_is_nothing_found(self, tmp_path: Path) -> None:
        session, dark = Spots(), write_raster(tmp_path / "a.tif", np.zeros((700, 700, 3), np.uint8))
        with Raster(dark) as raster:
            run = RasterRun(session, RasterView(raster), settings(Tiling(640, 64)), seeker=Brightness())  # type: ignore[arg-type]
            assert list(run) == []
        assert session.windows == run.seen == 0
        assert run.cold == run.windows == 4
        assert not any("takes" in line for line in run.summary())


def test_a_region_elsewhere(session: Session, view: RasterView) -> None:
    far = Polygons(((np.array([[500, 0], [600, 0], [600, 400.0]]),),))
    with pytest.raises(FineSpotError, match=r"roi: .*lies outside"):
        RasterRun(session, view, settings(), region=far)


def test_another_scale_has_other_windows_and_boxes_in_the_raster(session: Session, path: Path) -> None:
    with Raster(path) as raster:
        half = RasterRun(session, RasterView(raster, (0.5, 0.5)), settings())
        found = list(half)
        assert half.windows == 2  # of 200 x 110 px
        boxes = np.concatenate([one.boxes for one in found])
    assert boxes[:, 3].max() > 250
    assert {one.size for one in found} == {(400, 220)}


@pytest.mark.slow
def test_the_best_of_all(session: Session, view: RasterView) -> None:
    everything = np.concatenate([one.scores for one in RasterRun(session, view, settings())])
    (best,) = RasterRun(session, view, settings(), most=5)
    assert best.scores.tolist() == sorted(everything.tolist(), reverse=True)[:5]
    (nothing,) = RasterRun(session, view, settings(classes=()), most=5)
    assert len(nothing) == 0


@pytest.mark.slow
def test_classes_are_chosen(session: Session, view: RasterView) -> None:
    label = int(next(iter(RasterRun(session, view, settings()))).labels[0])
    found = np.concatenate([one.labels for one in RasterRun(session, view, settings(classes=(label,)))])
    assert set(found.tolist()) == {label}


@pytest.mark.parametrize("tiling", [None, Tiling(None), Tiling(128, whole=True)])
def test_windows_there_must_be(session: Session, view: RasterView, tiling: Tiling | None) -> None:
    with pytest.raises(FineSpotError, match="raster is"):
        RasterRun(session, view, settings(tiling))  # type: ignore[arg-type]


class TestJournal:
    def run(self, session: Session, view: RasterView, folder: Path, resume: bool = False, **options) -> RasterRun:
        run = RasterRun(session, view, settings(**options))
        run.journal = Journal(folder, run.fingerprint(), resume)
        return run

    @pytest.mark.slow
    @pytest.mark.parametrize("batch", [1, 2])
    @pytest.mark.parametrize("cut", [1, 4])
    def test_on_from_any_row(self, session: Session, view: RasterView, tmp_path: Path, cut: int, batch: int) -> None:
        whole = self.run(session, view, tmp_path, batch=batch)
        first = list(whole)
        whole.journal.close()
        lines = (tmp_path / JOURNAL).read_bytes().splitlines(keepends=True)
        assert len(lines) == whole.rows + 1 == 5
        # The line that was being written when the run was killed.
        torn = lines[cut + 1][:-9] if cut < 4 else b'{"row": 4, "em'
        (tmp_path / JOURNAL).write_bytes(b"".join(lines[: cut + 1]) + torn)
        again = self.run(session, view, tmp_path, resume=True, batch=batch)
        assert len(again.journal.rows) == cut
        second = list(again)
        assert first == second
        assert again.timing.windows == 2 * (4 - cut)
        assert (again.seen, again.empty, again.outside) == (whole.seen, whole.empty, whole.outside)
        again.journal.close()
        assert (tmp_path / JOURNAL).read_bytes() == b"".join(lines)
        again.journal.finish()
        assert not (tmp_path / JOURNAL).exists()

    def test_another_run_is_refused(self, session: Session, view: RasterView, path: Path, tmp_path: Path) -> None:
        self.run(session, view, tmp_path).journal.close()
        with pytest.raises(FineSpotError, match=r"these differ: conf, iou;"):
            self.run(session, view, tmp_path, True, conf=0.3, iou=0.6)
        with Raster(path) as raster, pytest.raises(FineSpotError, match="differ: scale"):
            self.run(session, RasterView(raster, (0.5, 0.5)), tmp_path, True)
        with Raster(path, [1]) as raster, pytest.raises(FineSpotError, match="differ: raster"):
            self.run(session, RasterView(raster), tmp_path, True)

    def test_other_weights_are_another_run(self, session: Session, view: RasterView) -> None:
        one = RasterRun(session, view, settings()).fingerprint()
        with_torch = next(session.detector.parameters())
        before = with_torch.detach().clone()
        try:
            with_torch.data.add_(1e-3)
            other = RasterRun(session, view, settings()).fingerprint()
        finally:
            with_torch.data.copy_(before)
        assert {key for key in one if one[key] != other[key]} == {"weights"}

    def test_another_seeker_is_another_run(self, session: Session, view: RasterView) -> None:
        seeker = load_seeker("hit-uav-seeker", threads=1)
        one = RasterRun(session, view, settings(), seeker=seeker).fingerprint()
        seeker.threshold += 0.1
        other = RasterRun(session, view, settings(), seeker=seeker).fingerprint()
        none = RasterRun(session, view, settings()).fingerprint()
        assert {key for key in one if one[key] != other[key]} == {"seeker"}
        seeker.threshold -= 0.1
        seeker.card = msgspec.structs.replace(seeker.card, reduction=2 * seeker.card.reduction)
        assert RasterRun(session, view, settings(), seeker=seeker).fingerprint()["seeker"] != one["seeker"]
        assert none["seeker"] is None

    @pytest.mark.slow
    def test_with_a_seeker_on_from_any_row(self, session: Session, view: RasterView, tmp_path: Path) -> None:
        def begun(resume: bool) -> RasterRun:
            seeker = load_seeker("hit-uav-seeker", threads=1)
            run = RasterRun(session, view, settings(), seeker=seeker)
            run.journal = Journal(tmp_path, run.fingerprint(), resume)
            return run

        whole = begun(False)
        first = list(whole)
        whole.journal.close()
        lines = (tmp_path / JOURNAL).read_bytes().splitlines(keepends=True)
        (tmp_path / JOURNAL).write_bytes(b"".join(lines[:3]))
        again = begun(True)
        assert list(again) == first
        assert (again.seen, again.cold, again.worth) == (whole.seen, whole.cold, whole.worth)
        assert again.timing.windows < whole.timing.windows
        assert whole.cold > 0

    def test_regions_are_told_apart(self, session: Session, view: RasterView) -> None:
        marks = {
            RasterRun(session, view, settings(), region=region).fingerprint()["region"]
            for side in (100, 101)
            for region in [
                Polygons(((np.array([[0, 0], [side, 0], [side, 400.0]]),),)),
                Mask(np.arange(view.size[1])[None] < np.full((view.size[0], 1), side)),
            ]
        }
        assert len(marks) == 4

    def test_nothing_to_go_on_with(self, session: Session, view: RasterView, tmp_path: Path) -> None:
        with pytest.raises(FineSpotError, match="no run to resume"):
            self.run(session, view, tmp_path, True)
        (tmp_path / JOURNAL).write_bytes(b"")
        with pytest.raises(FineSpotError, match="no run to resume"):
            self.run(session, view, tmp_path, True)

    def test_a_folder_that_is_none(self, session: Session, view: RasterView, tmp_path: Path) -> None:
        with pytest.raises(FineSpotError, match="cannot be written"):
            self.run(session, view, tmp_path / "none")
