"""Boxes where something is found: the values of the whole maps, at the points that pass, and at no others."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from finespot.nn.heads import AnchorFreeHead, DecoupledHead, DenseHead, SharedConvHead, boxes_later, later
from finespot.nn.heads.later import ConvBranch
from finespot.structures import Features, Level

SIZE = (48, 80)
SAME = (Level(8, 8), Level(8, 16))
GROWING = (Level(8, 8), Level(12, 16))


def anchor_free(**options) -> DenseHead:
    return AnchorFreeHead(GROWING, 3, **options)


def shared_conv() -> DenseHead:
    return SharedConvHead(SAME, 3)


HEADS = pytest.mark.parametrize("build", [anchor_free, shared_conv])


def alive(head: DenseHead) -> DenseHead:
    """A head whose norms shift, so that a convolution of nothing is not nothing, and whose scores differ."""
    draw = torch.Generator().manual_seed(2)
    for module in head.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.bias.data = torch.randn(module.bias.shape, generator=draw)
        elif isinstance(module, nn.Conv2d):
            spread = 1 / module.weight[0].numel() ** 0.5
            module.weight.data = spread * torch.randn(module.weight.shape, generator=draw)
            if module.bias is not None:
                module.bias.data = torch.randn(module.bias.shape, generator=draw) - 1
    return head.eval()


def features(head: DenseHead, batch: int = 2) -> Features:
    draw = torch.Generator().manual_seed(1)
    sizes = [(x.channels, SIZE[0] // x.stride, SIZE[1] // x.stride) for x in head.inputs]
    return Features([torch.randn(batch, *size, generator=draw) for size in sizes], head.inputs)


@torch.no_grad()
def both(head: DenseHead, batch: int = 2) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    whole = head(features(head, batch))
    with boxes_later():
        late = head(features(head, batch))
    return whole, late


def least(raw: dict[str, Tensor], share: float) -> float:
    """The score that so many of the points reach."""
    best = raw["scores"].sigmoid().amax(1).flatten().sort(descending=True).values
    return float(best[round(share * (len(best) - 1))])


def same(head: DenseHead, share: float, batch: int = 2, multi_label: bool = False) -> int:
    """How many detections there are where a share of the points passes; they are those of the whole maps."""
    whole, late = both(head, batch)
    conf = {0.0: 1.0, 1.0: 0.0}.get(share, least(whole, share))
    assert "boxes" in whole
    assert "boxes" not in late
    with torch.no_grad():
        pairs = list(zip(*(head.select(raw, conf, multi_label=multi_label) for raw in (whole, late)), strict=True))
    for one, other in pairs:
        np.testing.assert_allclose(other[0], one[0], rtol=1e-5, atol=1e-4)
        assert [value.tolist() for value in other[1:]] == [value.tolist() for value in one[1:]]
    return sum(len(one[0]) for one, _ in pairs)


@HEADS
@pytest.mark.parametrize("sparse", [0, later._SPARSE, 10_000])
@pytest.mark.parametrize("share", [1.0, 0.3, 0.03])
def test_values_are_those_of_the_whole_maps(build, sparse: int, share: float, monkeypatch) -> None:
    # At 0 all points run by their surroundings, those at corners and edges too; at 10,000 every map runs as a whole.
    monkeypatch.setattr(later, "_SPARSE", sparse)
    assert same(alive(build()), share) >= share * 150


@HEADS
def test_several_labels_of_a_point(build) -> None:
    head = alive(build())
    assert same(head, 1.0, multi_label=True) == 3 * same(head, 1.0)


@HEADS
def test_nothing_found(build) -> None:
    assert same(alive(build()), 0.0) == 0


@HEADS
def test_a_level_that_is_off(build) -> None:
    head = alive(build())
    head.set_active((False, True))
    assert same(head, 1.0) == 2 * 3 * 5
    head.set_active((True, False))
    assert same(head, 1.0) == 2 * 6 * 10


def test_with_norms_folded_in() -> None:
    head = alive(anchor_free())
    for module in list(head.modules()):
        if callable(fuse := getattr(module, "fuse", None)):
            fuse()
    assert same(head, 0.6) > 0


def test_fewer_bins() -> None:
    assert same(alive(anchor_free(reg_max=4)), 0.6) > 0


@pytest.mark.parametrize("build", [anchor_free, shared_conv])
def test_only_the_surroundings_are_computed(build, monkeypatch) -> None:
    head = alive(build())
    cells: list[int] = []
    run = torch.nn.functional.conv2d

    def counted(x: Tensor, *args: object) -> Tensor:
        cells.append(x.shape[0] * (x.shape[2] - 2) * (x.shape[3] - 2))
        return run(x, *args)  # type: ignore[arg-type]

    _, late = both(head, 1)
    conf = least(late, 0.04)
    monkeypatch.setattr(later, "F", SimpleNamespace(conv2d=counted))
    monkeypatch.setattr(ConvBranch, "whole", None)
    monkeypatch.setattr(later, "_SPARSE", 0)
    with torch.no_grad():
        ((boxes, *_),) = head.select(late, conf)
    assert len(boxes) == 4
    # 3 x 3 cells by the first convolution and one by the second, once a level, in a share of fixed size.
    assert cells in ([9 * later._SHARE, later._SHARE], [9 * later._SHARE, later._SHARE] * 2)


def test_last_bits_do_not_depend_on_the_others() -> None:
    head = alive(anchor_free())
    _, late = both(head, 3)
    with torch.no_grad():
        conf = least(late, 0.1)
        together = head.select(late, conf)
        maps = {name: value[1:2] if name != "anchors" else value for name, value in late.items()}
        (alone,) = head.select(maps, conf)
    assert len(alone[0])
    for one, other in zip(together[1], alone):
        assert np.array_equal(one, other)


def test_other_heads_give_boxes_at_once() -> None:
    head = DecoupledHead(SAME, 3).eval()
    with torch.no_grad(), boxes_later():
        assert "boxes" in head(features(head))


def test_only_the_thread_that_asked_waits() -> None:
    assert not later.waiting()
    with boxes_later(), ThreadPoolExecutor(1) as pool:
        assert later.waiting()
        assert not pool.submit(later.waiting).result()
    assert not later.waiting()
