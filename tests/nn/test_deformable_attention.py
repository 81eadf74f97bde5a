"""Deformable attention against a loop over queries, heads, levels and points; its start; gradients."""

from __future__ import annotations

import math

import pytest
import torch

from finespot.nn.layers import DeformableAttention

SIZES = ((6, 9), (3, 5))
WIDTH, HEADS, POINTS = 8, 2, 3


def layer(seed: int = 0) -> DeformableAttention:
    torch.manual_seed(seed)
    made = DeformableAttention(WIDTH, HEADS, len(SIZES), POINTS)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return made


def inputs(queries: int = 5, batch: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    boxes = torch.rand(batch, queries, 4, generator=draw)
    cells = sum(rows * columns for rows, columns in SIZES)
    return torch.randn(batch, queries, WIDTH, generator=draw), boxes, torch.randn(batch, cells, WIDTH, generator=draw)


def cell(grid: torch.Tensor, row: int, column: int) -> torch.Tensor:
    inside = 0 <= row < grid.shape[0] and 0 <= column < grid.shape[1]
    return grid[row, column] if inside else torch.zeros_like(grid[0, 0])


def slow(made: DeformableAttention, query: torch.Tensor, boxes: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
    out = torch.zeros_like(query)
    per_head = WIDTH // HEADS
    offsets = made.offsets(query).view(*query.shape[:2], HEADS, len(SIZES), POINTS, 2)
    weights = made.weights(query).view(*query.shape[:2], HEADS, -1).softmax(-1).view(*offsets.shape[:-1])
    value = made.value(memory)
    for b in range(query.shape[0]):
        for q in range(query.shape[1]):
            cx, cy, w, h = boxes[b, q].tolist()
            for head in range(HEADS):
                channels = slice(head * per_head, (head + 1) * per_head)
                begin = 0
                for level, (rows, columns) in enumerate(SIZES):
                    grid = value[b, begin : begin + rows * columns, channels].view(rows, columns, per_head)
                    begin += rows * columns
                    for p in range(POINTS):
                        dx, dy = offsets[b, q, head, level, p].tolist()
                        x = (cx + dx / POINTS * w / 2) * columns - 0.5
                        y = (cy + dy / POINTS * h / 2) * rows - 0.5
                        left, top = math.floor(x), math.floor(y)
                        fx, fy = x - left, y - top
                        seen = (
                            cell(grid, top, left) * (1 - fx) * (1 - fy)
                            + cell(grid, top, left + 1) * fx * (1 - fy)
                            + cell(grid, top + 1, left) * (1 - fx) * fy
                            + cell(grid, top + 1, left + 1) * fx * fy
                        )
                        out[b, q, channels] += weights[b, q, head, level, p] * seen
    return made.out(out)


def test_agrees_with_a_loop() -> None:
    made, (query, boxes, memory) = layer(), inputs()
    with torch.no_grad():
        assert torch.allclose(made(query, boxes, memory, SIZES), slow(made, query, boxes, memory), atol=1e-5)


def test_starts_on_a_ring_with_equal_weights() -> None:
    made = DeformableAttention(WIDTH, 8, 1, 2)
    query = torch.randn(1, 1, WIDTH)
    ring = made.offsets(query).view(8, 2, 2)
    assert ring[0].flatten().tolist() == pytest.approx([1, 0, 2, 0])
    assert ring[1].flatten().tolist() == pytest.approx([1, 1, 2, 2], abs=1e-6)
    assert ring[2].flatten().tolist() == pytest.approx([0, 1, 0, 2], abs=1e-6)
    assert made.weights(query).abs().max() == 0


def test_gradients_reach_all_inputs_and_parameters() -> None:
    made = layer()
    query, boxes, memory = (x.requires_grad_() for x in inputs())
    made(query, boxes, memory, SIZES).square().sum().backward()
    assert all(bool(x.grad.abs().sum() > 0) for x in (query, boxes, memory, *made.parameters()))


def test_half_precision_keeps_the_places() -> None:
    """A half has 11 bits: computed in it, places in a wide map would be off by parts of a cell."""
    torch.manual_seed(0)
    made = DeformableAttention(WIDTH, HEADS, 1, POINTS)
    sizes = ((1, 2000),)
    memory = torch.linspace(-1, 1, 2000)[None, :, None].repeat(1, 1, WIDTH)
    query, boxes = torch.zeros(1, 1, WIDTH), torch.tensor([[[0.7003, 0.5, 0.001, 0.001]]])
    with torch.no_grad():
        want = made(query, boxes, memory, sizes)
        got = made.bfloat16()(query.bfloat16(), boxes, memory.bfloat16(), sizes)
    assert got.dtype == torch.bfloat16
    assert torch.allclose(got.float(), want, atol=0.02)
