"""Levels switched off, in every dense head: as if the head had been made without them."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from finespot import registry
from finespot.nn.heads import DenseHead
from finespot.structures import Features, Level, Targets

STRIDES, CLASSES, WIDTH, SIZE = (8, 16, 32), 3, 32, (96, 160)
DENSE = [
    name
    for name in registry.names("head")
    if isinstance(kind := registry.lookup("head", name), type) and issubclass(kind, DenseHead)
]
MASKS = [flags for flags in product((False, True), repeat=3) if 0 < sum(flags) < 3]


def make(name: str, strides: tuple[int, ...] = STRIDES) -> DenseHead:
    torch.manual_seed(0)
    head = registry.make("head", name, levels=tuple(Level(WIDTH, stride) for stride in strides), classes=CLASSES)
    with torch.no_grad():  # so that levels differ from each other
        for parameter in head.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    return head


def features(strides: tuple[int, ...] = STRIDES, size: tuple[int, int] = SIZE) -> Features:
    maps = [
        torch.randn(2, WIDTH, -(-size[0] // s), -(-size[1] // s), generator=torch.Generator().manual_seed(s))
        for s in strides
    ]
    return Features(maps, tuple(Level(WIDTH, stride) for stride in strides))


def targets() -> Targets:
    boxes = [[4.0, 4, 30, 24], [50, 10, 58, 20], [40, 30, 150, 90], [20, 20, 28, 31], [60, 40, 160, 96]]
    flags = [False] * 4 + [True]
    return Targets(
        torch.tensor(boxes), torch.tensor([0, 1, 2, 2, -1]), torch.tensor([0, 0, 0, 1, 1]), torch.tensor(flags), 2
    )


def test_all_dense_heads_are_tested() -> None:
    assert set(DENSE) >= {"anchor_free", "anchor_based", "decoupled", "shared_conv", "retina"}


@pytest.mark.slow
@pytest.mark.parametrize("flags", MASKS, ids=str)
@pytest.mark.parametrize("name", DENSE)
def test_a_head_without_a_level_is_one_made_without_it(name: str, flags: tuple[bool, ...]) -> None:
    kept = tuple(stride for stride, on in zip(STRIDES, flags) if on)
    masked, alone = make(name).eval(), make(name, kept).eval()
    state = masked.state_dict()
    alone.load_state_dict({key: state[key] for key in alone.state_dict()})
    masked.set_active(flags)
    ours, theirs = masked(features()), alone(features(kept))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    first, second = masked.loss(ours, targets()), alone.loss(theirs, targets())
    assert {key: value.item() for key, value in first.terms.items()} == {
        key: value.item() for key, value in second.terms.items()
    }
    assert all(torch.equal(first.counts[key], second.counts[key]) for key in second.counts)
    assert torch.equal(masked.decode_boxes(ours), alone.decode_boxes(theirs))
    for one, other in zip(masked.select(ours, 0.0), alone.select(theirs, 0.0)):
        assert len(one[1])
        assert all(np.array_equal(a, b) for a, b in zip(one, other))


@pytest.mark.parametrize("off", range(3))
@pytest.mark.parametrize("name", DENSE)
def test_points_of_a_level_that_is_off_are_not_computed(name: str, off: int) -> None:
    head, given = make(name).eval(), features()
    head.set_active(tuple(i != off for i in range(3)))
    given.maps[off] = torch.full_like(given.maps[off], torch.nan)
    seen: list[tuple[int, ...]] = []

    def note(module: torch.nn.Module, args: tuple[object, ...]) -> None:
        seen.extend(tuple(x.shape[2:]) for x in args if isinstance(x, Tensor) and x.ndim == 4)

    for module in head.modules():
        module.register_forward_pre_hook(note)
    raw = head(given)
    assert seen
    assert tuple(given.maps[off].shape[2:]) not in seen
    assert all(torch.isfinite(value).all() for value in raw.values())
    head.loss(raw, targets()).total.backward()
    assert all(torch.isfinite(p.grad).all() for p in head.parameters() if p.grad is not None)
    head.set_active((True,) * 3)
    head.train()
    back = head(features())
    head.loss(back, targets()).total.backward()
    assert all(p.grad is not None for p in head.parameters() if p.requires_grad)


def test_cells_of_coarse_levels_stay_where_they_are_without_the_fine_ones() -> None:
    """RetinaNet spreads cells over the picture, whose sides only the finest map tells."""
    strides, size = (8, 16, 32, 64, 128), (96, 352)
    head = make("retina", strides).eval()
    whole = head(features(strides, size))["anchors"]
    head.set_active((False, False, False, True, True))
    part = head(features(strides, size))["anchors"]
    assert torch.equal(part, whole[:, whole[0, :, 2] >= 64])


def test_anchors_on_levels_whose_cells_reach_over_the_edge() -> None:
    strides = (8, 16, 32, 64, 128, 256)
    anchors = [[(1.5 * stride, 2.0 * stride)] for stride in strides]
    levels = tuple(Level(WIDTH, stride) for stride in strides)
    head = registry.make("head", "anchor_based", levels=levels, classes=CLASSES, anchors=anchors)
    raw = head(features(strides, (96, 352)))
    terms = head.loss(raw, targets()).terms
    assert all(torch.isfinite(value) for value in terms.values())
