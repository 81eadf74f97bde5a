"""State dicts of YOLOv5 files to ours and back: keys, head rows, anchors, what a file is of, errors."""

from __future__ import annotations

import pytest
import torch

from finespot import zoo
from finespot.errors import FineSpotError
from finespot.structures import Architecture
from finespot.weights.foreign.layout import skeleton
from finespot.weights.foreign.yolov5 import constants, entries, from_yolov5, recognize, to_yolov5

OWN = [[[4.0, 5.0], [6.5, 7.0]], [[9.0, 9.0], [12.0, 16.0]], [[30.0, 20.0], [40.0, 60.5]]]


SMALL = ("yolov5n", "yolov5n-p2", "yolov5s-v5")
SMALL_QUICK = [n if n in SMALL else pytest.param(n, marks=pytest.mark.slow) for n in zoo.YOLOV5.names()]


def shapes(architecture: Architecture) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        return zoo.build(architecture).state_dict()


def filled(architecture: Architecture) -> dict[str, torch.Tensor]:
    return {key: torch.rand(value.shape).to(value.dtype) for key, value in shapes(architecture).items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count", "some"),
    [
        (
            "yolov5n",
            349,
            {
                "model.0.conv.weight": (16, 3, 6, 6),
                "model.2.m.0.cv2.conv.weight": (16, 16, 3, 3),
                "model.4.cv3.bn.running_var": (64,),
                "model.6.m.2.cv1.conv.weight": (64, 64, 1, 1),
                "model.9.cv2.conv.weight": (256, 512, 1, 1),
                "model.10.conv.weight": (128, 256, 1, 1),
                "model.13.cv1.conv.weight": (64, 256, 1, 1),
                "model.14.conv.weight": (64, 128, 1, 1),
                "model.17.cv3.conv.weight": (64, 64, 1, 1),
                "model.18.conv.weight": (64, 64, 3, 3),
                "model.23.m.0.cv1.conv.weight": (128, 128, 1, 1),
                "model.24.anchors": (3, 3, 2),
                "model.24.m.1.weight": (255, 128, 1, 1),
                "model.24.m.2.bias": (255,),
            },
        ),
        (
            "yolov5s-v5",
            362,
            {
                "model.0.conv.conv.weight": (32, 12, 3, 3),
                "model.4.m.2.cv1.conv.weight": (64, 64, 1, 1),
                "model.8.cv2.conv.weight": (512, 1024, 1, 1),
                "model.9.cv3.conv.weight": (512, 512, 1, 1),
                "model.24.anchors": (3, 3, 2),
                "model.24.anchor_grid": (3, 1, 3, 1, 1, 2),
                "model.24.m.0.weight": (255, 128, 1, 1),
            },
        ),
        (
            "yolov5n-p2",
            None,
            {
                "model.18.conv.weight": (32, 64, 1, 1),
                "model.21.cv3.conv.weight": (32, 32, 1, 1),
                "model.30.cv3.conv.weight": (256, 256, 1, 1),
                "model.31.anchors": (4, 3, 2),
                "model.31.m.0.weight": (255, 32, 1, 1),
            },
        ),
    ],
)
def test_keys_and_shapes(name: str, count: int | None, some: dict[str, tuple[int, ...]]) -> None:
    architecture = zoo.architecture(name)
    theirs = to_yolov5(filled(architecture), architecture)
    assert {key: tuple(theirs[key].shape) for key in some} == some
    assert count is None or len(theirs) == count
    assert {key.split(".")[1] for key in theirs if "anchor" in key} == {str(max(int(k.split(".")[1]) for k in theirs))}


@pytest.mark.parametrize("name", SMALL_QUICK)
def test_the_map_names_every_tensor(name: str) -> None:
    architecture = zoo.architecture(name, classes=2)
    found = list(entries(architecture))
    assert {key for entry in found for key in entry.ours} == set(shapes(architecture))
    assert len({entry.key for entry in found}) == len(found)


@pytest.mark.parametrize("name", ["yolov5n", "yolov5n-p2", pytest.param("yolov5s-v5", marks=pytest.mark.slow)])
def test_there_and_back_is_exact(name: str) -> None:
    architecture = zoo.architecture(name, classes=3)
    ours = filled(architecture)
    again = from_yolov5(to_yolov5(ours, architecture), architecture)
    assert set(again) == set(ours)
    assert all(torch.equal(again[key], ours[key]) for key in ours)


@pytest.mark.slow
def test_head_rows_run_anchor_by_anchor() -> None:
    architecture = zoo.architecture("yolov5n", classes=2)
    theirs = to_yolov5(filled(architecture), architecture)
    theirs["model.24.m.0.bias"] = torch.arange(21.0)
    ours = from_yolov5(theirs, architecture)
    assert ours["head.box_branches.p3.bias"].tolist() == [0, 1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 17]
    assert ours["head.objectness_branches.p3.bias"].tolist() == [4, 11, 18]
    assert ours["head.class_branches.p3.bias"].tolist() == [5, 6, 12, 13, 19, 20]


def test_anchors_are_constants_in_strides_and_pixels() -> None:
    found = constants(zoo.architecture("yolov5s-v5"))
    assert {value.dtype for value in found.values()} == {torch.float32}
    assert found["model.24.anchors"][0].tolist() == [[1.25, 1.625], [2, 3.75], [4.125, 2.875]]
    assert found["model.24.anchor_grid"][2, 0, :, 0, 0].tolist() == [[116, 90], [156, 198], [373, 326]]
    own = constants(zoo.architecture("yolov5n", anchors=OWN))
    assert own["model.24.anchors"].tolist() == [
        [[0.5, 0.625], [0.8125, 0.875]],
        [[0.5625, 0.5625], [0.75, 1.0]],
        [[0.9375, 0.625], [1.25, 1.890625]],
    ]


@pytest.mark.parametrize("name", SMALL_QUICK)
def test_a_file_says_what_it_is_of(name: str) -> None:
    architecture = zoo.architecture(name, classes=7)
    theirs = {entry.key: next(iter(entry.ours)) for entry in entries(architecture)}
    own = shapes(architecture)
    # Shapes are all it reads, but for the anchors; files hold halves.
    state = {key: torch.empty(own[mine].shape, device="meta") for key, mine in theirs.items()}
    number = max(int(key.split(".")[1]) for key in theirs)
    width = own["head.class_branches.p3.weight"].shape[1]
    first = own["head.class_branches.p2.weight"].shape[1] if "head.class_branches.p2.weight" in own else width
    state[f"model.{number}.m.0.weight"] = torch.empty(36, first, 1, 1, device="meta")
    state.update({key: value.half() for key, value in constants(architecture).items()})
    assert recognize(state) == architecture


def test_anchors_of_a_file_become_an_option() -> None:
    architecture = zoo.architecture("yolov5n", classes=4, anchors=OWN)
    ours = filled(architecture)
    theirs = to_yolov5(ours, architecture)
    found = recognize(theirs)
    assert found == architecture
    detector = zoo.build(found)
    detector.load_state_dict(from_yolov5(theirs, found))
    assert [[list(pair) for pair in one] for one in detector.head.anchor_sizes] == OWN


def test_other_namings_are_not_recognized() -> None:
    architecture = zoo.architecture("yolov5n", classes=4)
    theirs = to_yolov5(filled(architecture), architecture)

    def without(*keys: str) -> dict[str, torch.Tensor]:
        return {key: value for key, value in theirs.items() if key not in keys}

    assert recognize(theirs) == architecture
    assert recognize({}) is None
    assert recognize(filled(architecture)) is None
    assert recognize(without("model.24.anchors")) is None
    assert recognize(without("model.24.m.0.weight")) is None
    assert recognize(without("model.0.conv.weight")) is None
    assert recognize({**theirs, "model.0.conv.weight": torch.zeros(24, 3, 6, 6)}) is None
    assert recognize({**theirs, "model.24.anchors": torch.zeros(9, 2)}) is None
    # Four levels at another layer number are those of stride 8 to 64.
    large = {key.replace("model.24", "model.33"): value for key, value in theirs.items()}
    assert recognize({**large, "model.33.anchors": torch.ones(4, 3, 2)}) is None


@pytest.mark.slow
def test_what_does_not_fit_is_refused() -> None:
    architecture = zoo.architecture("yolov5n", classes=3)
    theirs = to_yolov5(filled(architecture), architecture)
    with pytest.raises(FineSpotError, match=r"expected the anchors of yolov5n but got others; .*recognize"):
        from_yolov5({**theirs, "model.24.anchors": torch.ones(3, 3, 2)}, architecture)
    with pytest.raises(FineSpotError, match=r"model\.24\.m\.0\.weight: expected"):
        from_yolov5(theirs, zoo.architecture("yolov5n", classes=4))
    with pytest.raises(FineSpotError, match="do not belong"):
        from_yolov5({**theirs, "model.99.weight": torch.zeros(1)}, architecture)
    with pytest.raises(FineSpotError, match=r"yolov5n \(head=anchor_free\) is not a released YOLOv5"):
        to_yolov5({}, zoo.architecture("yolov5n", head="anchor_free"))
    with torch.device("meta"):
        fused = zoo.build(architecture).fused().state_dict()
    with pytest.raises(FineSpotError, match="unfused tensor"):
        to_yolov5(fused, architecture)


@pytest.mark.slow
def test_tensors_without_a_place_in_the_file_are_not_dropped() -> None:
    architecture = zoo.architecture("yolov5n", 2, neck="lateral_pafpn(out_width=64)")
    with pytest.raises(FineSpotError, match=r"no place for \d+ tensors, first 'neck.out.p3.conv.weight'"):
        to_yolov5(skeleton(architecture).state_dict(), architecture)
    theirs = to_yolov5(skeleton(zoo.architecture("yolov5n", 2)).state_dict(), zoo.architecture("yolov5n", 2))
    with pytest.raises(FineSpotError):
        from_yolov5(theirs, architecture)
