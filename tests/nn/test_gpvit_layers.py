"""Strip attention, group block, sampled attention, stochastic depth: against plain forms of the same sums."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from finespot.nn.backbones.gpvit import Trunk
from finespot.nn.backbones.gpvit_adapter import Injector
from finespot.nn.layers.deformable_attention import CellAttention, DeformableAttention
from finespot.nn.layers.drop_path import DropPath
from finespot.nn.layers.group_block import GroupBlock
from finespot.nn.layers.strips import HEADS, LocalBlock, StripAttention

C = 24


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("vertical", [True, False])
def test_cells_attend_inside_of_their_strip(vertical: bool) -> None:
    torch.manual_seed(0)
    part, x = StripAttention(C, vertical), seeded(2, 4, 6, C)
    with torch.no_grad():
        torch.nn.init.zeros_(part.position.weight)
        torch.nn.init.zeros_(part.position.bias)
        found = part(x)
        query, key, value = part.query(x), part.key(x), part.value(x)
        width = C // 2 // HEADS
        for image, row, column in ((0, 0, 0), (1, 3, 4)):
            if vertical:
                strip = (image, slice(None), slice(column // 2 * 2, column // 2 * 2 + 2))
            else:
                strip = (image, slice(row // 2 * 2, row // 2 * 2 + 2), slice(None))
            for head in range(HEADS):
                own = slice(head * width, head * width + width)
                keys, values = key[strip].reshape(-1, C // 2)[:, own], value[strip].reshape(-1, C // 2)[:, own]
                share = torch.softmax(keys @ query[image, row, column, own] / math.sqrt(width), 0)
                assert torch.allclose(found[image, row, column, own], share @ values, atol=1e-5)


def test_positions_stop_at_the_edge_of_a_strip() -> None:
    torch.manual_seed(0)
    part, x = StripAttention(C, vertical=True), seeded(1, 4, 6, C).requires_grad_()
    part(x)[0, 2, 2].sum().backward()
    touched = x.grad[0].abs().sum(-1) > 0
    assert touched.any(0).tolist() == [False, False, True, True, False, False]


def test_the_last_convolution_takes_the_place_of_the_map() -> None:
    torch.manual_seed(0)
    block = LocalBlock(C).eval()
    torch.nn.init.zeros_(block.spread.weight)
    with torch.no_grad():
        assert block(seeded(1, 4, 4, C)).abs().sum() == 0


def test_a_group_block_reaches_the_whole_map() -> None:
    torch.manual_seed(0)
    block, x = GroupBlock(C, 5).eval(), seeded(2, 4, 6, C).requires_grad_()
    found = block(x)
    assert found.shape == x.shape
    found[0, 0, 0].sum().backward()
    assert bool((x.grad[0].abs().sum(-1) > 0).all())
    assert x.grad[1].abs().sum() == 0


def sampled(maps: Tensor, x: float, y: float) -> Tensor:
    """Value (C,) of a map (rows, columns, C) at a place in shares, zero outside, by the four cells around."""
    rows, columns = maps.shape[:2]
    px, py, total = x * columns - 0.5, y * rows - 0.5, torch.zeros(maps.shape[2])
    for row in (math.floor(py), math.floor(py) + 1):
        for column in (math.floor(px), math.floor(px) + 1):
            if 0 <= row < rows and 0 <= column < columns:
                total += maps[row, column] * (1 - abs(py - row)) * (1 - abs(px - column))
    return total


@pytest.mark.parametrize("kind", ["cells", "boxes"])
def test_sampled_attention(kind: str) -> None:
    torch.manual_seed(0)
    heads, points, sizes = 2, 3, [(4, 6), (2, 3)]
    layer = (CellAttention if kind == "cells" else DeformableAttention)(8, heads, 2, points)
    torch.nn.init.normal_(layer.offsets.weight, std=0.2)
    torch.nn.init.normal_(layer.weights.weight)
    query, memory = seeded(1, 2, 8), seeded(1, 30, 8, seed=1)
    boxes = torch.tensor([[0.3, 0.6, 0.2, 0.4], [0.9, 0.1, 0.5, 0.1]])
    with torch.no_grad():
        found = layer(query, boxes[:, :2] if kind == "cells" else boxes[None], memory, sizes)
        offsets = layer.offsets(query).view(2, heads, 2, points, 2)
        weights = layer.weights(query).view(2, heads, -1).softmax(-1).view(2, heads, 2, points)
        value = layer.value(memory)[0].view(30, heads, 4)
        maps = [value[:24].view(4, 6, heads, 4), value[24:].view(2, 3, heads, 4)]
        for q in range(2):
            seen = torch.zeros(heads, 4)
            for head in range(heads):
                for level, (rows, columns) in enumerate(sizes):
                    unit = torch.tensor([1 / columns, 1 / rows]) if kind == "cells" else boxes[q, 2:] * 0.5 / points
                    for point in range(points):
                        x, y = (boxes[q, :2] + offsets[q, head, level, point] * unit).tolist()
                        seen[head] += weights[q, head, level, point] * sampled(maps[level][:, :, head], x, y)
            assert torch.allclose(found[0, q], layer.out(seen.flatten()), atol=1e-5)


def test_the_adapter_starts_without_a_say_and_computes_in_float32() -> None:
    torch.manual_seed(0)
    injector, x, centers = Injector(C), seeded(1, 6, C), torch.rand(6, 2)
    tokens, sizes = seeded(1, 21, C, seed=1), [(4, 4), (2, 2), (1, 1)]
    with torch.no_grad():
        assert torch.equal(injector(x, centers, tokens, sizes), x)
        torch.nn.init.ones_(injector.gamma)
        want = injector(x, centers, tokens, sizes)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(injector(x, centers, tokens, sizes), want)


def test_codes_are_resized_for_other_pictures_and_kept_for_their_own() -> None:
    torch.manual_seed(0)
    trunk = Trunk("l1").eval()
    with torch.no_grad():
        trunk.positions.copy_(torch.arange(28.0).repeat_interleave(28)[None, :, None].expand_as(trunk.positions))
        torch.nn.init.zeros_(trunk.patches.weight)
        torch.nn.init.zeros_(trunk.patches.bias)
        own, wide = trunk.embed(torch.rand(1, 3, 224, 224)), trunk.embed(torch.rand(1, 3, 112, 448))
    assert own[0, :, 5, 0].tolist() == list(range(28))
    assert wide.shape == (1, 14, 56, 216)
    # The code of this test says the row alone: the same in all columns, twice as steep in half the rows.
    assert torch.allclose(wide[0], wide[0, :, :1].expand_as(wide[0]), atol=1e-4)
    assert wide[0, 6, 0, 0].item() == pytest.approx(12.5, abs=1e-3)


def test_stochastic_depth() -> None:
    torch.manual_seed(0)
    drop, x = DropPath(0.25), torch.ones(4000, 2)
    kept = drop(x)
    assert kept.unique().tolist() == pytest.approx([0, 4 / 3])
    assert bool((kept[:, 0] == kept[:, 1]).all())
    assert (kept[:, 0] > 0).float().mean().item() == pytest.approx(0.75, abs=0.03)
    assert torch.equal(drop.eval()(x), x)
    assert torch.equal(DropPath(0.0)(x), x)
