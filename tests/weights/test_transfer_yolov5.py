"""A YOLOv5 starts from another one's weights: class rows of every anchor by name, the rest of the head as it is."""

from __future__ import annotations

import torch

from finespot import weights, zoo
from finespot.structures import Classes
from finespot.weights import Card

FROM, TO = Classes(("person", "car")), Classes(("car", "dog", "person"))


def build(classes: int, seed: int) -> zoo.Detector:
    torch.manual_seed(seed)
    return zoo.build(
        zoo.architecture("yolov5n", classes, anchors=[[[4, 5], [6, 7]], [[9, 9], [12, 16]], [[30, 20]] * 2])
    )


def test_rows_follow_their_names_in_every_anchor(tmp_path) -> None:
    source, target = build(2, 0), build(3, 1)
    card = Card(architecture=source.architecture, classes=FROM, imgsz=64)
    file = weights.save(tmp_path / "w.safetensors", source, card, half=False)
    assert weights.load(file)[0].head.anchor_sizes == source.head.anchor_sizes
    start = {name: value.clone() for name, value in target.state_dict().items()}
    report = weights.transfer(target, TO, file)
    assert (report.classes_matched, report.classes_new) == (("car", "person"), ("dog",))
    state, given = target.state_dict(), source.state_dict()
    for level in ("p3", "p4", "p5"):
        name = f"head.class_branches.{level}.weight"
        new, old, theirs = (one[name].unflatten(0, (2, -1)) for one in (state, start, given))
        assert torch.equal(new[:, [0, 2]], theirs[:, [1, 0]])
        assert torch.equal(new[:, 1], old[:, 1])
        assert torch.equal(state[f"head.box_branches.{level}.bias"], given[f"head.box_branches.{level}.bias"])
