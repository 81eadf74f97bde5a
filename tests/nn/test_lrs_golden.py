"""LRS-DETR's layers against outputs on record of the released modules, with weights by a formula.

Each list says the tensors in the released order; where ours are several layers for one of theirs, they are one entry.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from finespot.nn.layers import DPRA, DEFModule, OmniKernel, SMEModule, SPDConv

GOLDEN = json.loads((Path(__file__).parent / "data" / "lrs_detr.json").read_text())


class Entry(NamedTuple):
    """One tensor there, of which ours are parts by the first dimension; those of norms lie about one."""

    parts: list[Tensor]
    about_one: bool = False


def weights(*layers: nn.Module) -> list[Entry]:
    """Weight and, where there is one, bias."""
    one = isinstance(layers[0], nn.LayerNorm | nn.GroupNorm)
    made = [Entry([layer.weight for layer in layers], one)]
    return made if layers[0].bias is None else [*made, Entry([layer.bias for layer in layers])]


def normed(*convs: nn.Module) -> list[Entry]:
    """Weight of a convolution, then its batch norm."""
    norms = [one.bn for one in convs]
    keys = ("weight", "bias", "running_mean", "running_var")
    return [
        *weights(*(one.conv for one in convs)),
        *(Entry([getattr(norm, key) for norm in norms], key in ("weight", "running_var")) for key in keys),
    ]


def of_spd(m: SPDConv) -> list[Entry]:
    return normed(m.mix)


def of_def(m: DEFModule) -> list[Entry]:
    attention, feed = m.attention, m.feedforward
    return [
        *normed(m.spread),
        *weights(attention.norm),
        *normed(*attention.entry.branches),
        *normed(attention.project),
        *weights(feed.gate, feed.value),
        *weights(feed.spread),
        *weights(feed.exit),
    ]


def of_omni(m: OmniKernel) -> list[Entry]:
    one_by_one = (m.entry, m.exit, m.wide, m.tall, m.large, m.point, m.weigh_cells, m.weigh_frequencies)
    gate = m.gate
    return [
        *(entry for layer in one_by_one for entry in weights(layer)),
        Entry([gate.alpha]),
        Entry([gate.beta]),
        *weights(gate.unused),
        *weights(gate.weigh),
        *weights(gate.transformed),
    ]


def of_sme(m: SMEModule) -> list[Entry]:
    return [*normed(*m.entry.branches), *normed(m.exit), *of_omni(m.kernel)]


def of_dpra(m: DPRA) -> list[Entry]:
    block, feed = m.attention, m.feedforward
    attention, refine = block.attention, block.refinement
    return [
        *weights(block.before_attention),
        Entry([attention.position]),
        Entry([attention.branches]),
        *weights(attention.query),
        *weights(attention.key, attention.value),
        *weights(attention.out),
        *weights(block.before_refinement),
        *weights(refine.gate, refine.value),
        *weights(refine.spread),
        *weights(refine.out),
        *weights(refine.refine),
        *weights(feed.expand),
        *weights(feed.contract),
        *weights(m.attention_norm),
        *weights(m.feedforward_norm),
    ]


CASES = {
    "SPDConv": (lambda: SPDConv(4, 8), of_spd),
    "DEFModule": (lambda: DEFModule(192), of_def),
    "OmniKernel": (lambda: OmniKernel(16, keep_unused=True), of_omni),
    "OmniKernel, matrix": (lambda: OmniKernel(16, "matrix", keep_unused=True), of_omni),
    "SMEModule": (lambda: SMEModule(64, keep_unused=True), of_sme),
    "DPRA": (lambda: DPRA(256, 1024, 8), of_dpra),
}
TENSORS = {"SPDConv": 5, "DEFModule": 23, "OmniKernel": 24, "SMEModule": 34, "DPRA": 27}


@torch.no_grad()
def fill(entries: list[Entry]) -> None:
    for number, entry in enumerate(entries):
        count = sum(part.numel() for part in entry.parts)
        k = torch.arange(count, dtype=torch.float64)
        values = 0.1 * torch.sin(0.37 * k + 1.3 * number + 0.5) + (1 if entry.about_one else 0)
        for part, own in zip(entry.parts, values.split([part.numel() for part in entry.parts])):
            part.copy_(own.view(part.shape))


@pytest.mark.parametrize("case", CASES)
def test_output_of_the_released_module(case: str) -> None:
    make, entries_of = CASES[case]
    want, module = GOLDEN[case.split(",")[0]], make().eval()
    entries = entries_of(module)
    assert len(entries) == TENSORS[case.split(",")[0]]
    filled = {id(part) for entry in entries for part in entry.parts}
    assert {id(one) for one in module.parameters()} <= filled
    fill(entries)
    count = torch.Size(want["shape"]).numel()
    x = torch.sin(0.11 * torch.arange(count, dtype=torch.float64) + 0.2).float().view(want["shape"])
    with torch.no_grad():
        found = module(x)
    assert list(found.shape) == want["out"]
    assert found.double().sum().item() == pytest.approx(want["sum"], abs=2e-3)
    assert found.abs().mean().item() == pytest.approx(want["mean_abs"], abs=1e-5)
    for index, value in want["values"]:
        assert found.flatten()[index].item() == pytest.approx(value, abs=1e-5)
