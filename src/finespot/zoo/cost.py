"""What a network costs: parameters and operations."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from finespot.structures import Size
from finespot.zoo.detector import Detector


def count_parameters(model: nn.Module) -> int:
    """Number of parameters, frozen ones included."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_gflops(detector: Detector, size: Size) -> float:
    """Operations from one picture of `size` (height, width) to its boxes, in 1e9: 2 for each multiply-add of
    convolutions, matrix products and attention, nothing else. Nothing is computed: a copy runs on the meta device.
    """
    tensors = [*detector.parameters(), *detector.buffers()]
    # A deep copy that finds a stand-in without data for every tensor.
    stand_ins: dict[int, Any] = {id(one): _without_data(one) for one in tensors}
    twin = copy.deepcopy(detector, stand_ins).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        twin.head.decode_boxes(twin(torch.empty(1, 3, *size, device="meta")))
    return float(counter.get_total_flops()) / 1e9


def _without_data(tensor: Tensor) -> Tensor:
    meta = tensor.detach().to("meta")
    return nn.Parameter(meta, requires_grad=False) if isinstance(tensor, nn.Parameter) else meta
