"""Heat maps: known answers on a network of three lines, places in rectangles and tiles, errors, bundled weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from finespot import inference, zoo
from finespot.errors import FineSpotError
from finespot.inference import Model, explain
from finespot.nn.heads.head import Head
from finespot.runtimes import Session
from finespot.structures import Classes, Detections, Features, Level, Tiling
from finespot.weights import Card

STRIDE, SIDE = 8, 10.0
LEVELS = (Level(3, STRIDE),)
CLASSES = Classes(("red", "blue"))
# Logits of the two classes, each a sum over the channels' means in a cell.
WEIGHTS = ((12.0, 0.0, -20.0), (-20.0, -4.0, 12.0))
BIAS = -4.0


class Means(nn.Module):
    """The mean color of every cell of 8 x 8 pixels."""

    levels = LEVELS

    def forward(self, images):
        return Features([F.avg_pool2d(images, STRIDE)], self.levels)


class Passing(nn.Module):
    """A neck that gives what it gets, with a layer whose map nobody reads and one that never runs."""

    inputs = levels = LEVELS

    def __init__(self, windows: bool = False) -> None:
        super().__init__()
        self.windows, self.unread, self.idle = windows, nn.Identity(), nn.Identity()
        self.copy, self.flat = nn.Identity(), nn.Flatten()

    def forward(self, features):
        x = self.copy(features.maps[0])
        self.unread(x)
        self.flat(x)
        return replace(features, maps=[x], origins=torch.zeros(1, 3) if self.windows else None)


class Cells(Head):
    """One box of a fixed size around each cell; its left side moves with the green channel."""

    suppress = True

    def __init__(self, levels, classes) -> None:
        super().__init__(levels, classes)
        self.classify = nn.Conv2d(3, classes, 1)
        with torch.no_grad():
            self.classify.weight.copy_(torch.tensor(WEIGHTS)[..., None, None])
            self.classify.bias.fill_(BIAS)

    def forward(self, features, targets=None):
        (x,) = features.maps
        rows, columns = x.shape[2:]
        y, x_center = torch.meshgrid(torch.arange(rows) + 0.5, torch.arange(columns) + 0.5, indexing="ij")
        centers = torch.stack((x_center, y, x_center, y)).flatten(1) * STRIDE
        half = torch.tensor([-SIDE, -SIDE, SIDE, SIDE])[:, None] / 2
        moved = F.pad(x[:, 1:2].flatten(2), (0, 0, 0, 3))
        return {"scores": self.classify(x).flatten(2), "boxes": (centers + half)[None] + moved}

    def decode_boxes(self, raw):
        return raw["boxes"].transpose(1, 2)

    def select(self, raw, conf, max_candidates=30_000, multi_label=False):
        scores = torch.sigmoid(raw["scores"][0])
        label, point = (scores >= conf).nonzero().unbind(1)
        boxes = self.decode_boxes(raw)[0, point]
        return [(boxes.numpy(), scores[label, point].numpy(), label.numpy())]


def model_of(neck: nn.Module | None = None, **card) -> Model:
    detector = zoo.Detector(Means(), None, neck or Passing(), Cells(LEVELS, 2))
    architecture = zoo.architecture("yolov8n", 2)
    return Model(Session(detector, card=Card(architecture=architecture, classes=CLASSES, imgsz=64, **card), threads=1))


def scene(height: int = 32, width: int = 64) -> np.ndarray:
    """A dark picture with a red cell in row 1, column 6 and a blue one in row 2, column 1; green is 0.2 in both."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[8:16, 48:56] = (255, 51, 0)
    pixels[16:24, 8:16] = (0, 51, 255)
    return pixels


def cell(heat: np.ndarray, row: int, column: int) -> np.ndarray:
    return heat[row * STRIDE : (row + 1) * STRIDE, column * STRIDE : (column + 1) * STRIDE]


def center(heat: np.ndarray) -> tuple[float, float]:
    y, x = np.mgrid[: heat.shape[0], : heat.shape[1]] + 0.5
    return float((heat * y).sum() / heat.sum()), float((heat * x).sum() / heat.sum())


def one(model: Model, pixels: np.ndarray, **options) -> inference.Explanation:
    (explained,) = model.explain([pixels], **options)
    return explained


class TestKnownAnswers:
    @pytest.mark.parametrize("method", ["hirescam", "layercam"])
    def test_heat_is_the_products_in_the_cell_of_the_detection(self, method) -> None:
        explained = one(model_of(), scene(), method=method)
        assert explained.detections.labels.tolist() == [0, 1]
        np.testing.assert_array_equal(explained.pixels, scene())
        assert set(explained.heat) == {0, 1}
        for label, place, expected in (
            (0, (1, 6), 12.0),
            (1, (2, 1), {"hirescam": 12 - 4 * 0.2, "layercam": 12.0}[method]),
        ):
            heat = explained.heat[label]
            assert heat.shape == (32, 64)
            assert heat.dtype == np.float32
            # Bilinear interpolation: next to the middle of a cell of 8 pixels 15/16 of its value, in both directions.
            assert cell(heat, *place).max() == pytest.approx(expected * (15 / 16) ** 2, rel=1e-5)
            assert heat.sum() == pytest.approx(expected * STRIDE**2, rel=1e-5)
            assert center(heat) == pytest.approx([(k + 0.5) * STRIDE for k in place], abs=1e-3)

    def test_gradcam_spreads_to_what_looks_alike(self) -> None:
        pixels = scene()
        pixels[24:32, 16:24] = (102, 0, 0)  # reddish: 12 * 0.4 - 4 stays below the least score
        explained = one(model_of(), pixels, method="gradcam", classes=["red"], conf=0.8)
        (heat,) = explained.heat.values()
        cells = 4 * 8
        assert cell(heat, 1, 6).max() == pytest.approx(12 / cells * (15 / 16) ** 2, rel=1e-4)
        assert cell(heat, 3, 2).max() == pytest.approx(12 / cells * 0.4 * (15 / 16), rel=1e-4)
        assert cell(one(model_of(), pixels, classes=["red"], conf=0.8).heat[0], 3, 2).max() == 0

    def test_a_sure_detection_counts_as_much_as_a_doubtful_one(self) -> None:
        pixels = scene()
        pixels[8:16, 24:32] = (128, 0, 0)
        explained = one(model_of(), pixels, classes=["red"])
        assert explained.detections.scores.max() > 0.999
        assert explained.detections.scores.min() < 0.9
        heat = explained.heat[0]
        assert cell(heat, 1, 3).sum() / cell(heat, 1, 6).sum() == pytest.approx(128 / 255, rel=1e-3)

    def test_targets_differ(self) -> None:
        heat = {target: one(model_of(), scene(), target=target).heat for target in ("class", "box", "both")}
        for label, place in ((0, (1, 6)), (1, (2, 1))):
            box = heat["box"][label]
            # The left side moves by 0.2, in the width of the box.
            extent = SIDE - 0.2
            assert box.sum() == pytest.approx(0.2 / extent * STRIDE**2, rel=1e-4)
            assert center(box) == pytest.approx([(k + 0.5) * STRIDE for k in place], abs=1e-3)
            shares = [heat[target][label] / heat[target][label].max() for target in ("class", "box")]
            np.testing.assert_allclose(heat["both"][label], sum(shares) / 2, atol=1e-6)
            assert not np.allclose(heat["both"][label], heat["class"][label])

    def test_classes_limit_what_is_explained(self) -> None:
        assert set(one(model_of(), scene(), classes=["blue"]).heat) == {1}

    def test_layers_of_one_value_sum_up(self) -> None:
        alone = one(model_of(), scene(), layers=["neck"]).heat[0]
        for layers in (["neck.copy"], ["backbone"]):
            np.testing.assert_allclose(one(model_of(), scene(), layers=layers).heat[0], alone, rtol=1e-6)
        np.testing.assert_allclose(one(model_of(), scene(), layers=["neck", "backbone"]).heat[0], 2 * alone, rtol=1e-6)

    def test_the_normalization_is_the_weights_own(self) -> None:
        card = {"mean": (0.5, 0.0, 0.0), "std": (0.25, 1.0, 1.0)}
        heat = one(model_of(**card), scene(), classes=["red"]).heat[0]
        assert heat.sum() == pytest.approx(12 * (1 - 0.5) / 0.25 * STRIDE**2, rel=1e-4)


class TestPlaces:
    @pytest.mark.parametrize("fit", ["center", "corner", "stretch"])
    @pytest.mark.parametrize("size", [(40, 120), (120, 40), (100, 128), (33, 61)])
    def test_rectangles_are_not_mixed_up(self, size, fit) -> None:
        height, width = size
        pixels = np.zeros((height, width, 3), np.uint8)
        y, x = height * 0.7, width * 0.3
        high, wide = height / 4, width / 4
        pixels[int(y - high / 2) : int(y + high / 2), int(x - wide / 2) : int(x + wide / 2)] = (255, 0, 0)
        explained = one(model_of(fit=fit), pixels)
        heat = explained.heat[0]
        assert heat.shape == size
        # A cell of the input in pixels of the picture.
        near = STRIDE * np.array(size) / (64 if fit == "stretch" else 64 * np.array(size) / max(size))
        assert (np.abs(np.array(center(heat)) - (y, x)) <= near).all()

    def test_nothing_of_the_padding_is_shown(self) -> None:
        # 64 x 20 at 64 leaves 4 rows of padding; in it, gray gives no heat to a corner of the picture.
        pixels = np.zeros((20, 64, 3), np.uint8)
        pixels[:, 48:56] = (255, 0, 0)
        heat = one(model_of(), pixels).heat[0]
        assert heat.shape == (20, 64)
        assert heat[:, :40].max() == 0
        assert (heat[:, 50:54].max(1) > 0).all()

    def test_tiles_show_what_the_whole_picture_shows(self) -> None:
        pixels = np.zeros((96, 160, 3), np.uint8)
        pixels[8:16, 120:128] = (255, 51, 0)
        pixels[72:80, 24:32] = (0, 51, 255)
        pixels[40:48, 64:72] = (255, 51, 0)  # whole in several tiles
        whole = one(model_of(), pixels, imgsz=160)
        cut = one(model_of(), pixels, imgsz=64, tiling=Tiling(64, overlap=0.25))
        assert sorted(cut.detections.boxes.tolist()) == sorted(whole.detections.boxes.tolist())
        for label in (0, 1):
            np.testing.assert_allclose(cut.heat[label], whole.heat[label], atol=1e-4)

    def test_the_whole_view_is_explained_too(self, monkeypatch) -> None:
        pixels = np.zeros((96, 160, 3), np.uint8)
        pixels[8:16, 120:128] = (255, 51, 0)
        found = one(model_of(), pixels, imgsz=64, tiling=Tiling(64, 0.25)).detections
        seen = []
        windows = explain.windows
        monkeypatch.setattr(explain, "windows", lambda *rule: [seen.append(tile) or tile for tile in windows(*rule)])
        heat = [
            model_of().explainer(imgsz=64, tiling=Tiling(64, 0.25, whole=whole))(pixels, found)[0]
            for whole in (False, True)
        ]
        assert [tile.whole for tile in seen].count(True) == 1
        assert heat[0].shape == heat[1].shape == (96, 160)
        assert (heat[1] >= heat[0]).all()

    def test_nothing_found_gives_no_heat(self) -> None:
        explained = one(model_of(), np.zeros((32, 64, 3), np.uint8))
        assert (len(explained.detections), explained.heat) == (0, {})


class TestMatching:
    def test_detections_that_no_point_gives_are_counted(self) -> None:
        explainer = model_of().explainer()
        boxes = [[47, 7, 57, 17], [0, 0, 64, 32]]
        found = Detections(boxes, [0.9, 0.9], [0, 0], (32, 64), CLASSES)
        heat = explainer(scene(), found)
        assert explainer.unmatched == 1
        assert cell(heat[0], 1, 6).max() > 0
        assert explainer(scene(), found.select([0]))[0].sum() == pytest.approx(heat[0].sum())
        assert explainer.unmatched == 1

    @pytest.mark.parametrize("nms", ["weighted", "soft(sigma=0.3)", "greedy"])
    @pytest.mark.slow
    def test_rules_that_change_boxes_or_scores(self, model, samples, nms) -> None:
        picture = samples / "images" / "val" / "1_70_70_0_07716.jpg"
        explainer = model.explainer()
        (found,) = model.predict(picture, conf=0.3, nms=nms, iou=0.5)
        (pixels,) = (one.pixels for one in model.predict(picture, pixels=True).outcomes)
        heat = explainer(pixels, found)
        assert set(heat) == set(found.labels.tolist())
        assert explainer.unmatched <= 0.1 * len(found)


class TestErrors:
    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"layers": ["nek"]}, "unknown layer 'nek'; did you mean neck"),
            ({"layers": []}, "layers: expected a list of layers, one at least"),
            ({"layers": "neck"}, "expected a list of layers"),
            ({"layers": ["neck", "neck"]}, "got 'neck' twice"),
            ({"layers": ["neck.idle"]}, "'neck.idle' does not run"),
            ({"layers": ["neck.unread"]}, "does not depend on neck.unread"),
            ({"layers": ["neck.flat"]}, "'neck.flat' gives a tensor of shape"),
            ({"layers": ["head"]}, "'head' gives dict"),
            ({"layers": ["head.classify"], "target": "box"}, "does not depend on head.classify"),
            ({"method": "cam"}, "unknown method 'cam'"),
            ({"target": "all"}, "unknown target 'all'"),
            ({"conf": 2.0}, "conf: expected a value from 0 to 1"),
        ],
    )
    def test_one_line_before_the_first_picture(self, options, said) -> None:
        with pytest.raises(FineSpotError) as caught:
            model_of().explain([scene()], **options)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_windows_have_no_place(self) -> None:
        with pytest.raises(FineSpotError, match="belong to windows that the network chose"):
            model_of(Passing(windows=True)).explain([scene()])
        assert one(model_of(Passing(windows=True)), scene(), layers=["backbone"]).heat

    def test_unreadable_pictures_are_skipped(self, tmp_path) -> None:
        (tmp_path / "broken.png").write_bytes(b"no picture")
        model = model_of()
        assert len(list(model.explain([tmp_path / "broken.png", scene()]))) == 1
        assert [name for name, _ in model.skipped] == [str(tmp_path / "broken.png")]


class TestTheNetworkIsLeftAlone:
    @pytest.mark.slow
    def test_training_goes_on(self, detector, card, samples) -> None:
        picture = samples / "images" / "val" / "1_70_70_0_07716.jpg"
        detector.train()
        try:
            before = {key: value.clone() for key, value in detector.state_dict().items()}
            learning = [parameter.requires_grad for parameter in detector.parameters()]
            model = Model(Session(detector, card=card, threads=1))
            (explained,) = model.explain(picture)
            assert explained.heat
            assert detector.training
            assert [parameter.requires_grad for parameter in detector.parameters()] == learning
            assert all(parameter.grad is None for parameter in detector.parameters())
            assert all(torch.equal(value, before[key]) for key, value in detector.state_dict().items())
            assert not any(module._forward_hooks for module in detector.modules())
        finally:
            detector.eval()

    @pytest.mark.slow
    def test_detections_are_those_of_prediction(self, model, samples) -> None:
        picture = samples / "images" / "val" / "1_70_70_0_07716.jpg"
        (found,) = model.predict(picture, conf=0.4)
        (explained,) = model.explain(picture, conf=0.4)
        assert explained.detections == found


@pytest.mark.slow
@pytest.mark.parametrize(("target", "share"), [("class", 0.75), pytest.param("box", 0.6, marks=pytest.mark.slow)])
def test_heat_lies_in_and_near_what_bundled_weights_find(samples, target, share) -> None:
    model = inference.load("hit-uav-n", threads=1)
    (explained,) = model.explain(samples / "images" / "val" / "1_70_70_0_07716.jpg", target=target, imgsz=640)
    found = explained.detections
    assert set(explained.heat) == {0, 1, 2}
    for label, heat in explained.heat.items():
        inside, near = np.zeros(heat.shape, bool), np.zeros(heat.shape, bool)
        for x1, y1, x2, y2 in found.boxes[found.labels == label].round().astype(int):
            inside[y1:y2, x1:x2] = True
            near[max(0, y1 - 16) : y2 + 16, max(0, x1 - 16) : x2 + 16] = True
        assert heat[inside].sum() > share * heat.sum()
        assert inside.mean() < 0.1
        assert heat[near].sum() > 0.99 * heat.sum()
        # Every object has some: none is left dark.
        for x1, y1, x2, y2 in found.boxes[found.labels == label].round().astype(int):
            assert heat[y1:y2, x1:x2].max() > 0.05 * heat.max()


@pytest.mark.slow
def test_what_is_hot_counts_more_than_what_is_cold(samples) -> None:
    """Scores fall further where the hottest pixels are painted over than where as many cold ones of the objects are."""
    model = inference.load("hit-uav-n", threads=1)
    totals = np.zeros(3)
    for explained in model.explain(samples / "images" / "val", classes=["Car"]):
        pixels, boxes = explained.pixels, explained.detections.boxes.astype(int)
        heat = explained.heat[1].ravel()
        inside = np.zeros(pixels.shape[:2], bool)
        for x1, y1, x2, y2 in boxes:
            inside[y1:y2, x1:x2] = True
        places = np.flatnonzero(inside)
        count = min(heat.size // 100, len(places) // 2)
        scores = [explained.detections.scores.sum()]
        for painted in (np.argsort(-heat)[:count], places[np.argsort(heat[places])][:count]):
            changed = pixels.reshape(-1, 3).copy()
            changed[painted] = int(pixels.mean())
            (found,) = model.predict(changed.reshape(pixels.shape), classes=["Car"])
            scores.append(found.scores.sum())
        totals += scores
    before, without_hot, without_cold = totals
    assert before - without_hot > 1.5 * (before - without_cold)
