"""The network with gradients: which maps some of its layers gave, and how a value of the output depends on them.

What a session runs is fused, maybe of half precision, and keeps no gradients. Here runs an unfused copy in float32
whose parameters are frozen: the graph begins at the first layer that is looked at, so that everything before it costs
no memory.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from finespot.errors import FineSpotError, some, unknown
from finespot.runtimes import Session, within_memory
from finespot.runtimes.torch_eager import torch_threads
from finespot.structures import Features
from finespot.zoo import WindowedDetector

Raw = dict[str, Tensor]


class GradientGraph:
    """A copy of a session's network that remembers the maps of `layers`, by their dotted names (`neck`,
    `backbone.stages.2`); where a part gives several levels, all of them.

    Attributes
    ----------
    maps:
        (1, C, h, w) of every layer, for the last picture that ran.

    Raises
    ------
    FineSpotError
        There is no such layer, it does not run or gives something else than maps; no layer is named, or one twice.
    """

    def __init__(self, session: Session, layers: Sequence[str]) -> None:
        self.layers = _checked(session.detector, layers)
        network = copy.deepcopy(session.detector).eval().requires_grad_(False)
        if isinstance(network, WindowedDetector):
            network.whole = True  # one picture, one map of points
        self.network = network.to(device=session.device, dtype=torch.float32)  # type: ignore[call-overload]
        self.maps: list[Tensor] = []
        self._ran: set[str] = set()
        self._threads = session.threads if session.device.type == "cpu" else None
        mean, std = (torch.tensor(values, device=session.device) for values in (session.card.mean, session.card.std))
        self._mean, self._std = mean.view(1, -1, 1, 1), std.view(1, -1, 1, 1)
        for name in self.layers:
            self.network.get_submodule(name).register_forward_hook(self._hook(name))

    def __call__(self, images: Tensor) -> Raw:
        """uint8 pictures (1, 3, H, W) to the head's raw output, with gradients."""
        self.maps, self._ran = [], set()
        height, width = images.shape[2:]
        what = f"the gradients of an input of {width}x{height} px on {self._mean.device}"
        with within_memory(what, "lower imgsz or cut tiles"), torch.enable_grad(), torch_threads(self._threads):
            inputs = (images.to(self._mean.device).float() / 255 - self._mean) / self._std
            raw: Raw = self.network(inputs)
        idle = [name for name in self.layers if name not in self._ran]
        if idle:
            raise FineSpotError(f"the layer '{idle[0]}' does not run when the network predicts", where="layers")
        return raw

    def gradients(self, value: Tensor) -> list[Tensor]:
        """The gradients of a scalar of the output by each of `maps`, 0 where nothing leads from one to the other.

        Raises
        ------
        FineSpotError
            Nothing leads from any of them to the value.
        """
        found: Sequence[Tensor | None] = [None] * len(self.maps)
        if value.requires_grad:
            with within_memory("these gradients", "lower imgsz or cut tiles"), torch_threads(self._threads):
                found = torch.autograd.grad(value, self.maps, retain_graph=True, allow_unused=True)
        if all(one is None for one in found):
            raise FineSpotError(
                f"what is to be explained does not depend on {some(self.layers)}", where="layers", hint="name others"
            )
        return [torch.zeros_like(x) if one is None else one for x, one in zip(self.maps, found)]

    def _hook(self, name: str) -> Callable[[nn.Module, Any, Any], Any]:
        def keep(module: nn.Module, given: Any, output: Any) -> Any:
            self._ran.add(name)
            if isinstance(output, Features):
                if output.origins is not None:
                    raise FineSpotError(
                        f"the maps of '{name}' belong to windows that the network chose, and have no place in the "
                        "picture as a whole",
                        where="layers",
                        hint="name a layer before it, such as backbone",
                    )
                return replace(output, maps=[self._keep(x) for x in output.maps])
            if isinstance(output, Tensor) and output.ndim == 4:
                return self._keep(output)
            got = f"a tensor of shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
            raise FineSpotError(
                f"expected a layer that gives a map (batch, channels, rows, columns) but '{name}' gives {got}",
                where="layers",
            )

        return keep

    def _keep(self, x: Tensor) -> Tensor:
        """Remember a map; what goes on is a copy, as layers behind may work in place."""
        kept = x.clone() if x.requires_grad else x.detach().clone().requires_grad_()
        self.maps.append(kept)
        return kept.clone()


def _checked(network: nn.Module, layers: Sequence[str]) -> tuple[str, ...]:
    known = [name for name, _ in network.named_modules() if name]
    if isinstance(layers, str) or not layers:
        raise FineSpotError(f"expected a list of layers, one at least, but got {layers!r}", where="layers")
    for place, name in enumerate(layers):
        if name not in known:
            raise unknown("layer", name, known, where="layers")
        if name in layers[:place]:
            raise FineSpotError(f"expected different layers but got '{name}' twice", where="layers")
    return tuple(layers)
