"""Parts exchanged by options: what they are offered, and options that would have no effect."""

from __future__ import annotations

import pytest
import torch

from finespot import zoo
from finespot.errors import FineSpotError
from finespot.nn.backbones import GPViTAdapter
from finespot.nn.heads import RetinaHead
from finespot.nn.necks import FPN

ANCHORS = [[[10, 13]], [[30, 61]], [[116, 90]]]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("yolov5n", {"head": "anchor_free", "anchors": ANCHORS}, "the option anchors has no effect, as the head is"),
        ("yolov5s-v5", {"backbone": "resnet_vd"}, "the option release has no effect, as the backbone is exchanged"),
        ("rtmdet-tiny", {"head": "anchor_free", "exp": True}, "the option exp has no effect"),
        ("rtdetr-r18", {"head": "anchor_free", "queries": 100}, "the option queries has no effect"),
        ("gpvit-l1", {"backbone": "resnet", "drop_path": 0.2}, "the option drop_path has no effect, as the backbone"),
        ("retinanet-r50", {"backbone": "resnet_vd", "norm_eps": 0.0}, "the option norm_eps has no effect"),
        ("retinanet-r50-v2", {"neck": "fpn", "head": "retina"}, "the option form has no effect, as the neck and head"),
        ("yolo11n", {"neck": 3}, "yolo11: expected the name of a neck but got 3"),
        ("yolo11n", {"head": "anchor_free(reg_max=many)"}, "head 'anchor_free': expected reg_max to be a whole number"),
        ("gpvit-l1", {"drop_path": "much"}, "drop_path: expected a rate from 0 to below 1 but got much"),
        ("gpvit-l1", {"drop_path": 1.0}, "drop_path: expected a rate"),
        ("retinanet-r50", {"norm_eps": "little"}, "norm_eps: expected a number from 0"),
    ],
)
def test_options_without_effect_or_sense_are_refused(name: str, options: dict[str, object], message: str) -> None:
    with torch.device("meta"), pytest.raises(FineSpotError, match=message):
        zoo.build(zoo.architecture(name, 2, **options))


@pytest.mark.parametrize(
    "name", ["yolov5n", "yolov8n", "yolo11n", "yolo12n", "yolox-nano", "rtmdet-tiny", "rtdetr-r18", "lrs-detr-b"]
)
def test_a_word_is_no_choice(name: str) -> None:
    """The text "no" is as true as any other."""
    with torch.device("meta"), pytest.raises(FineSpotError, match="expected p2 to be true or false but got no"):
        zoo.build(zoo.architecture(name, 2, p2="no"))


@pytest.mark.slow
def test_exchanged_parts_get_the_options_that_they_take() -> None:
    with torch.device("meta"):
        head = zoo.build(zoo.architecture("yolov5n", 2, head="anchor_based", anchors=ANCHORS)).head
        eps = zoo.build(zoo.architecture("retinanet-r50", 2, backbone="resnet(depth=101)", norm_eps=0.0)).backbone
        drop = zoo.build(zoo.architecture("gpvit-l1", 2, backbone="gpvit", drop_path=0.3)).backbone
    assert head.anchor_sizes == [((10.0, 13.0),), ((30.0, 61.0),), ((116.0, 90.0),)]
    assert eps.stem.bn.eps == 0.0
    assert drop.trunk.blocks[-1].drop.rate == pytest.approx(0.3)


def test_none_means_the_own_part() -> None:
    with torch.device("meta"):
        found = zoo.build(zoo.architecture("yolo11n", 2, neck=None, head=None, backbone=None))
    assert type(found.neck).__name__ == "PAFPN"


@pytest.mark.slow
def test_pictures_fit_what_a_backbone_wants_not_only_its_strides() -> None:
    """A plain GPViT gives stride 8 but has strips of two cells; an adapter reads its picture at stride 32 always."""
    plain = zoo.build(zoo.architecture("gpvit-l1", 2, backbone="gpvit")).eval()
    assert plain.stride == 16
    with torch.no_grad():
        assert plain(torch.rand(1, 3, 48, 80))["scores"].shape[1] == 2
    with pytest.raises(FineSpotError, match="multiples of 16 but got 48 x 88"):
        plain(torch.rand(1, 3, 48, 88))
    with torch.device("meta"):
        backbone = GPViTAdapter("l1", strides=(4, 8))
        neck = FPN(backbone.levels)
        adapted = zoo.Detector(backbone, None, neck, RetinaHead(neck.levels, 2))
    assert adapted.stride == 32
