"""Prediction: sources, options, exactness, errors."""

from __future__ import annotations

import itertools
import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from finespot import images, inference, weights
from finespot.errors import FineSpotError
from finespot.inference import Model, open_source
from finespot.runtimes import Session
from finespot.structures import Placement, Tiling
from finespot.tiling import Part, merge

CONF = 0.3


def same(a, b) -> None:
    """Equal to the bit."""
    assert len(a) == len(b)
    for one, other in zip(a, b):
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_array_equal(one.scores, other.scores)


@pytest.fixture(scope="session")
def folder(samples):
    return samples / "images" / "val"


@pytest.fixture(scope="session")
def picture(folder):
    return folder / "1_70_70_0_07716.jpg"


@pytest.fixture(scope="session")
def whole(session, picture):
    return list(Model(session).predict(picture, conf=CONF))


def test_finds_something_inside_the_picture(whole) -> None:
    (found,) = whole
    assert len(found) > 20
    assert found.size == (512, 640)
    assert found.source.endswith("1_70_70_0_07716.jpg")
    assert (found.boxes >= 0).all()
    assert (found.boxes <= [640, 512, 640, 512]).all()
    assert (np.diff(found.scores) <= 0).all()
    assert found.scores.min() >= CONF


def test_equals_the_steps_by_hand(session, picture, whole) -> None:
    image = images.open_image(picture)
    pixels, placement = images.letterbox(images.to_rgb8(image.read(None), 8), images.fit_size(image.size, 160, 32))
    assert pixels.shape == (128, 160, 3)
    raw = session(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None])
    ((boxes, scores, labels),) = session.head.select(raw, CONF)
    part = Part(placement, boxes, scores, labels)
    by_hand = merge([part], size=image.size, classes=session.classes, iou=0.7, max_det=300)
    same(whole, [by_hand])


class TestSources:
    def test_forms_of_one_picture_agree(self, model, picture, whole, tmp_path) -> None:
        gray = np.asarray(Pillow.open(picture))
        exact = images.open_image(picture).read(None)
        listed = tmp_path / "list.txt"
        listed.write_text(f"{picture}\n\n")
        forms = [str(picture), [picture], str(picture)[:-5] + "*.jpg", listed, np.repeat(exact, 3, 2), exact[..., 0]]
        for form in forms:
            same(list(model.predict(form, conf=CONF)), whole)
        # Pillow's own JPEG decoder may differ by a gray level.
        same(list(model.predict(Pillow.fromarray(gray), conf=CONF)), list(model.predict(gray, conf=CONF)))
        with Pillow.open(picture) as opened:
            (found,) = model.predict(opened, conf=CONF)
        assert found.source == str(picture)

    def test_folder_is_recursive_and_ordered(self, model, folder, tmp_path) -> None:
        (tmp_path / "a" / "b").mkdir(parents=True)
        names = sorted(path.name for path in folder.iterdir())
        shutil.copy(folder / names[0], tmp_path / "z.jpg")
        shutil.copy(folder / names[1], tmp_path / "a" / "b" / "y.jpg")
        (tmp_path / "notes.md").write_text("no picture")
        found = [one.source for one in model.predict(tmp_path)]
        assert found == [str(tmp_path / "a" / "b" / "y.jpg"), str(tmp_path / "z.jpg")]
        assert len(open_source(tmp_path)) == 2

    def test_a_pattern_in_a_folder_with_brackets(self, model, folder, tmp_path) -> None:
        place = tmp_path / "flight [2] *"
        place.mkdir()
        shutil.copy(next(folder.iterdir()), place / "a[1].jpg")
        for pattern in (place / "*.jpg", place / "a?1?.*", tmp_path / "**" / "*.jpg"):
            assert [found.source for found in model.predict(pattern)] == [str(place / "a[1].jpg")]

    def test_list_file_is_relative_to_itself(self, model, folder, tmp_path) -> None:
        shutil.copy(next(folder.iterdir()), tmp_path / "one.jpg")
        (tmp_path / "list.txt").write_text("one.jpg\n")
        assert len(list(model.predict(tmp_path / "list.txt"))) == 1

    def test_sixteen_bits_and_exif(self, model, picture, whole, tmp_path) -> None:
        gray = images.open_image(picture).read(None)
        same(list(model.predict(gray.astype(np.uint16) * 257, conf=CONF)), whole)
        turned = Pillow.fromarray(np.rot90(gray[..., 0]).copy())
        exif = turned.getexif()
        exif[0x0112] = 6  # turn a quarter clockwise to see it upright
        turned.save(tmp_path / "turned.png", exif=exif)
        with Pillow.open(tmp_path / "turned.png") as opened:
            same(list(model.predict(opened, conf=CONF)), whole)

    def test_what_is_left_out_of_a_folder_is_listed(self, model, folder, tmp_path) -> None:
        shutil.copy(next(folder.iterdir()), tmp_path / "a.jpg")
        for name in ("anim.GIF", "clip.mp4", "notes.md"):
            (tmp_path / name).write_text("")
        for source in (tmp_path, str(tmp_path / "*"), [tmp_path]):
            assert len(list(model.predict(source))) == 1
            assert [name for name, _ in model.skipped] == [str(tmp_path / "anim.GIF"), str(tmp_path / "clip.mp4")]
            assert "where it is named" in model.skipped[0][1]
        (tmp_path / "a.jpg").unlink()
        with pytest.raises(FineSpotError, match=r"found none in it or below; .*anim\.GIF: a GIF is read only where"):
            open_source(tmp_path)

    def test_a_gif_that_is_named_is_read(self, model, picture, tmp_path) -> None:
        Pillow.open(picture).save(tmp_path / "a.gif")
        assert len(list(model.predict([tmp_path / "a.gif"]))) == 1

    @pytest.mark.parametrize(
        ("source", "words"),
        [
            ("", "empty text"),
            ([" "], "item 0: expected a path but got an empty text"),
            (Pillow.new("I", (8, 8)), "32"),
            ("no/such.jpg", "there is none"),
            ("no/such/*.jpg", "none does"),
            ([], "empty list"),
            (3, "expected a path"),
            ([3], "item 0"),
            (np.zeros((4, 4, 2), np.uint8), "expected an array"),
            (np.zeros((4, 4, 3), np.float32), "uint8"),
        ],
    )
    def test_what_cannot_be_used(self, model, source, words) -> None:
        with pytest.raises(FineSpotError, match=words):
            list(model.predict(source))

    def test_empty_folder_and_list(self, model, tmp_path) -> None:
        with pytest.raises(FineSpotError, match="found none"):
            model.predict(tmp_path)
        (tmp_path / "list.txt").write_text("\n")
        with pytest.raises(FineSpotError, match="empty"):
            model.predict(tmp_path / "list.txt")

    def test_broken_picture_alone_raises_and_among_others_is_skipped(self, model, picture, whole, tmp_path) -> None:
        broken = tmp_path / "a.jpg"
        broken.write_bytes(picture.read_bytes()[:3000])
        shutil.copy(picture, tmp_path / "b.jpg")
        with pytest.raises(FineSpotError, match="damaged"):
            list(model.predict(broken))
        for source in (tmp_path, [broken, tmp_path / "gone.jpg", picture]):
            same(list(model.predict(source, conf=CONF)), whole)
            assert model.skipped[0][0] == str(broken)
            assert "damaged" in model.skipped[0][1]
        assert len(model.skipped) == 2
        list(model.predict(picture))
        assert model.skipped == []

    @pytest.mark.slow
    def test_video(self, model, folder, tmp_path) -> None:
        pytest.importorskip("av")
        frames = [images.to_rgb8(images.open_image(path).read(None), 8) for path in sorted(folder.iterdir())]
        with images.VideoWriter(tmp_path / "clip.mp4", 10, (512, 640)) as writer:
            for frame in frames:
                writer.write(frame)
        source = open_source(tmp_path / "clip.mp4")
        assert source.fps == pytest.approx(10)
        found = list(model.predict(source, conf=CONF))
        assert [one.source.rsplit("/", 1)[1] for one in found] == [f"clip_{i:06d}.mp4" for i in range(4)]
        decoded = list(images.open_video(tmp_path / "clip.mp4").frames())
        same(found, list(model.predict(decoded, conf=CONF)))


class TestOptions:
    def test_thresholds(self, model, picture, whole) -> None:
        def predict(**options):
            return next(model.predict(picture, **{"conf": CONF, **options}))

        assert len(predict(conf=0.5)) < len(whole[0])
        assert len(predict(iou=0.3)) < len(whole[0]) < len(predict(iou=0.95))
        assert len(predict(max_det=7)) == 7
        same([predict(max_det=7)], [whole[0].select(np.arange(7))])

    @pytest.mark.slow
    def test_nms(self, model, picture, whole) -> None:
        def predict(nms, **options):
            found = next(model.predict(picture, conf=CONF, nms=nms, **options))
            assert found.scores.min() >= CONF
            return found

        same([predict("greedy")], whole)
        same([predict("cluster")], whole)
        counts = {nms: len(predict(nms)) for nms in ("greedy", "nwd(constant=2)", "nwd(constant=50)", "soft", "ios")}
        assert counts["nwd(constant=50)"] < counts["nwd(constant=2)"]
        assert len(set(counts.values())) == len(counts)
        assert len(predict("diou", iou=0.5)) > len(predict("greedy", iou=0.5))
        assert predict("weighted", iou=0.5).boxes.tolist() != predict("greedy", iou=0.5).boxes.tolist()
        assert predict("matrix").scores.sum() < predict("matrix(sigma=0.1)").scores.sum()
        for text in ("gredy", "soft(", "soft(sigma=-1)"):
            with pytest.raises(FineSpotError):
                model.predict(picture, nms=text)

    def test_an_iou_that_nms_does_not_look_at_is_said(self, model, picture) -> None:
        for text, idle in (("soft", True), ("matrix", True), ("soft(method=linear)", False), ("nwd", False)):
            model.predict(picture, nms=text, iou=0.5)
            assert model.notes == ([f"iou 0.5 is left out: nms {text} takes no threshold"] if idle else [])
            model.predict(picture, nms=text)
            assert model.notes == []

    @pytest.mark.slow
    def test_defaults_come_from_the_card(self, session, detector, card, picture) -> None:
        changed = type(card)(
            architecture=card.architecture, classes=card.classes, imgsz=96, conf=0.3, iou=0.5, max_det=50, nms="soft",
            tiling=Tiling(400, 0.1),
        )  # fmt: skip
        model = Model(Session(detector, card=changed, threads=1))
        own = list(model.predict(picture))
        given = Model(session).predict(picture, imgsz=96, conf=0.3, max_det=50, tiling=Tiling(400, 0.1), nms="soft")
        same(own, list(given))
        assert len(own[0]) not in (50, len(next(model.predict(picture, nms="greedy"))))
        assert model.timing.windows == 4
        list(model.predict(picture, tiling=Tiling(None)))
        assert model.timing.windows == 1

    def test_classes(self, model, picture, whole) -> None:
        """Others are left out before the best are counted, or the few best would all be of another class."""
        (found,) = whole
        assert set(found.labels[:3]) != {2}
        for classes in (["Bicycle"], [2]):
            (only,) = model.predict(picture, conf=CONF, classes=classes, max_det=3)
            same([only], [found.filter(classes=[2]).select(np.arange(3))])
        with pytest.raises(FineSpotError, match="did you mean Bicycle"):
            model.predict(picture, classes=["Bicyle"])

    def test_tiles_that_are_scaled_and_pictures_that_are_not_cut(self, model, picture) -> None:
        list(model.predict(picture, tiling=Tiling(400)))
        assert model.notes == ["tiles of 400 px are scaled to 160 px"]
        list(model.predict(picture, tiling=Tiling(1000)))
        assert model.notes[1].startswith("1 of 1 pictures were not cut")
        with pytest.raises(FineSpotError, match=r"give tiling=Tiling\(640\)"):
            model.predict(picture, tiling=640)

    def test_imgsz(self, model, picture, whole) -> None:
        large = next(model.predict(picture, conf=CONF, imgsz=320))
        assert len(large) != len(whole[0])
        assert model.notes == []
        rounded = next(model.predict(picture, conf=CONF, imgsz=300))
        assert model.notes == ["imgsz 300 is no multiple of the stride 32: rounded up to 320"]
        same([rounded], [large])

    def test_batches_change_nothing(self, session, model, folder) -> None:
        ones = list(model.predict(folder, conf=CONF, batch=1))
        assert model.timing.pictures == 4
        model.session = _Watching(session)
        same(list(model.predict(folder, conf=CONF, batch=3)), ones)
        assert [shape[0] for shape in model.session.seen] == [3, 1]

    def test_pictures_of_one_shape_share_a_batch(self, session, model, folder) -> None:
        pixels = [images.open_image(path).read(None) for path in sorted(folder.iterdir())]
        mixed = [pixels[0], pixels[1], pixels[2][:300], pixels[3]]
        ones = list(model.predict(mixed, conf=CONF))
        model.session = _Watching(session)
        same(list(model.predict(mixed, conf=CONF, batch=4)), ones)
        assert [shape[0] for shape in model.session.seen] == [3, 1]

    @pytest.mark.parametrize("option", [{"conf": 1.5}, {"iou": -1}, {"max_det": 0}, {"batch": 0}, {"imgsz": 0}])
    def test_bad_values_are_refused_at_once(self, model, picture, option) -> None:
        with pytest.raises(FineSpotError, match=next(iter(option))):
            model.predict(picture, **option)


class TestSliced:
    def test_one_window_equals_the_whole_picture(self, model, picture) -> None:
        whole = list(model.predict(picture, conf=CONF, imgsz=320))
        same(list(model.predict(picture, conf=CONF, imgsz=320, tiling=Tiling(640))), whole)

    @pytest.mark.slow
    def test_windows_equal_crops_run_alone(self, session, model, picture) -> None:
        """At tile size = imgsz pixels are not resampled: each window is the crop itself."""
        pixels = images.to_rgb8(images.open_image(picture).read(None), 8)
        sliced = next(model.predict(pixels, conf=CONF, imgsz=320, tiling=Tiling(320, 0.0), max_det=10_000))
        assert model.timing.windows == 4
        parts = []
        for y, x in itertools.product((0, 192), (0, 320)):
            crop = torch.from_numpy(pixels[y : y + 320, x : x + 320].copy()).permute(2, 0, 1)[None]
            ((boxes, scores, labels),) = session.head.select(session(crop), CONF)
            window = (x, y, x + 320, y + 320)
            parts.append(Part(Placement((1, 1), (0, 0), (512, 640), (x, y)), boxes, scores, labels, window))
        same([merge(parts, size=(512, 640), classes=model.classes, max_det=10_000)], [sliced])
        untold = [replace(part, window=None) for part in parts]
        assert len(merge(untold, size=(512, 640), classes=model.classes, max_det=10_000)) > len(sliced)

    @pytest.mark.slow
    def test_batched_windows_change_nothing(self, session, model, folder) -> None:
        """Batches reach over the edge from one picture to the next."""
        options = {"conf": CONF, "imgsz": 160, "tiling": Tiling(256, 0.2)}
        source = sorted(folder.iterdir())[:2]
        ones = list(model.predict(source, **options))
        assert model.timing.windows == 18
        model.session = _Watching(session)
        same(list(model.predict(source, batch=8, **options)), ones)
        assert [shape[0] for shape in model.session.seen] == [8, 8, 2]

    def test_small_pictures_are_padded_not_enlarged(self, session, model, picture) -> None:
        pixels = images.open_image(picture).read(None)[:100, :150]
        model.session = _Watching(session)
        list(model.predict(pixels, imgsz=320, tiling=Tiling(320)))
        list(model.predict(pixels, imgsz=320))
        assert model.session.seen == [(1, 3, 128, 160), (1, 3, 224, 320)]

    @pytest.mark.slow
    def test_tiles_that_are_no_multiple_of_the_stride_keep_their_scale(self, session, model, picture) -> None:
        model.session = _Watching(session)
        list(model.predict(picture, imgsz=300, tiling=Tiling(300)))
        assert set(model.session.seen) == {(1, 3, 320, 320)}
        assert model.notes == ["imgsz 300 is no multiple of the stride 32: tiles are padded to 320"]


class _Watching:
    """A session that writes down the shapes it is given, and runs picture by picture.

    A network's last bits depend on the batch size; run one by one, results must agree to the bit.
    """

    def __init__(self, session) -> None:
        self._session, self.seen = session, []

    def look(self, batch):
        self.seen.append(tuple(batch.shape))
        raws = [self._session(one[None]) for one in batch]
        joined = {name: torch.cat([raw[name] for raw in raws]) for name in ("boxes", "scores")}
        return {**joined, "anchors": raws[0]["anchors"]}

    def __getattr__(self, name):
        return getattr(self._session, name)


@pytest.mark.parametrize("classes", ["Person", (), []])
def test_classes_are_a_list_of_some(model, picture, classes) -> None:
    with pytest.raises(FineSpotError, match="classes: expected a list of classes, one at least, but got"):
        model.predict(picture, classes=classes)


def test_outcomes_carry_pixels(model, folder) -> None:
    for outcome, path in zip(model.predict(folder, pixels=True).outcomes, sorted(folder.iterdir())):
        np.testing.assert_array_equal(outcome.pixels, images.to_rgb8(images.open_image(path).read(None), 8))
    assert next(model.predict(folder).outcomes).pixels is None


def test_outcomes_tell_what_was_left_out(model, folder, tmp_path) -> None:
    shutil.copy(next(folder.iterdir()), tmp_path / "b.jpg")
    (tmp_path / "a.jpg").write_text("no picture")
    bad, good = model.predict(tmp_path).outcomes
    assert (bad.error is None, good.error is None) == (False, True)
    assert bad.detections.source == str(tmp_path / "a.jpg")
    assert [found.source for found in model.predict(tmp_path)] == [str(tmp_path / "b.jpg")]


def test_leaving_early_ends_the_reading_thread(model, folder) -> None:
    found = model.predict(folder)
    next(found)
    found.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "finespot-reader"]


def test_a_bug_in_the_reading_thread_reaches_the_caller(model) -> None:
    source = open_source(np.zeros((64, 64, 3), np.uint8))
    broken = replace(source, entries=(1 / 0 for _ in range(1)))
    with pytest.raises(ZeroDivisionError):
        list(model.predict(broken))


@pytest.mark.slow
def test_load_from_a_file(detector, card, picture, whole, tmp_path) -> None:
    path = weights.save(tmp_path / "w.safetensors", detector, card, half=False)
    model = inference.load(path, threads=1)
    same(list(model.predict(picture, conf=CONF)), whole)
    assert model.classes == card.classes
    assert model.session.reason.startswith("runtime torch")


@pytest.mark.slow  # the first count of operations imports much of torch
def test_info(model, detector) -> None:
    info = model.info()
    assert info["architecture"] == "yolo11n"
    assert info["classes"] == ["Person", "Car", "Bicycle", "OtherVehicle"]
    assert info["parameters"] == sum(p.numel() for p in detector.parameters())
    assert info["gflops"] == pytest.approx(0.4, rel=0.1)
    assert info["runtime"] == model.session.reason


def test_a_head_without_suppression_is_not_suppressed(session, picture, whole) -> None:
    class Free:
        suppress = False

        def select(self, *args, **options):
            return session.head.select(*args, **options)

    model = Model(_Watching(session))
    model.session.head = Free()
    free = next(model.predict(picture, conf=CONF))
    assert len(free) > len(whole[0])
    assert model.notes == []
    same([next(model.predict(picture, conf=CONF, nms="soft"))], [free])
    assert model.notes == ["nms soft is left out: the head of this network finds no doubles"]
