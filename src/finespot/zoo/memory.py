"""Memory that a network's activations need, watched while it runs (on the meta device nothing is computed for it)."""

from __future__ import annotations

from typing import Any
from weakref import finalize

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from finespot.zoo.detector import Detector


class _Live(TorchDispatchMode):
    """Watches how many bytes of results are alive, and the most that were."""

    def __init__(self) -> None:
        super().__init__()
        self.now: int = 0
        self.most: int = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        for one in tree_leaves(output):
            if isinstance(one, Tensor):
                self._watch(one.untyped_storage())
        return output

    def _watch(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self.known:
            return
        self.known.add(key)
        self.now += size
        self.most = max(self.most, self.now)
        finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


def peak_bytes(detector: Detector, images: Tensor) -> int:
    """Most bytes of results alive at one time on the way from pictures to boxes; the pictures do not count."""
    with torch.no_grad(), _Live() as live:
        detector.head.decode_boxes(detector(images))
    return int(live.most)


def saved_bytes(detector: Detector, images: Tensor) -> int:
    """Bytes that autograd keeps of a pass over pictures for the way back, parameters left out."""
    own = {one.untyped_storage()._cdata for one in [*detector.parameters(), *detector.buffers()]}
    kept: dict[int, int] = {}
    alive = []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage.nbytes()
            alive.append(storage)  # so that no other tensor gets its place
        return tensor

    with torch.enable_grad(), saved_tensors_hooks(pack, lambda tensor: tensor):
        detector.train()(images)
    detector.eval()
    return sum(kept.values())
