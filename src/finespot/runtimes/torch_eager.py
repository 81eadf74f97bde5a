"""The torch runtime: the network itself, batch norm folded into the convolutions, channels-last memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import local
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from finespot.registry import register
from finespot.runtimes.settings import PRECISIONS

if TYPE_CHECKING:
    from finespot.structures import Targets
    from finespot.zoo import Detector

_OWN = local()


@register("runtime", "torch")
class TorchRuntime:
    """Runs a copy of a detector; the detector itself is not touched.

    Parameters
    ----------
    detector:
        The network, on any device, in any mode.
    mean, std:
        Per channel, of inputs scaled to 0 to 1: the network gets (x - mean) / std.
    device, precision:
        Where and in what type it computes (`fp32`, `fp16`, `bf16`).
    threads:
        CPU threads inside one operator, set for the time of a call and put back after it; in a thread that has its
        own number (`take_threads`), that.
    """

    def __init__(
        self,
        detector: Detector,
        *,
        device: torch.device,
        precision: str,
        threads: int,
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
    ) -> None:
        self.device, self.threads = device, threads
        self.dtype = PRECISIONS[precision]
        network = detector.fused().eval().requires_grad_(False)
        self.network = network.to(device=device, dtype=self.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]

        self._shift = torch.tensor(mean, device=device, dtype=self.dtype).view(1, -1, 1, 1) if any(mean) else None
        plain = all(value == 1 for value in std)
        self._scale = None if plain else torch.tensor(std, device=device, dtype=self.dtype).view(1, -1, 1, 1)

    def __call__(self, images: Tensor, truth: Targets | None = None) -> dict[str, Tensor]:
        """uint8 (B, 3, H, W) to the head's raw output, floating tensors as float32; `truth` for an oracle."""
        with self.computing():
            inputs = images.to(self.device, non_blocking=True).to(self.dtype).div_(255)
            if self._shift is not None:
                inputs = inputs.sub_(self._shift)
            if self._scale is not None:
                inputs = inputs.div_(self._scale)
            inputs = inputs.contiguous(memory_format=torch.channels_last)
            raw = self.network(inputs) if truth is None else self.network(inputs, truth.to(self.device))
            return {name: _plain(value) for name, value in raw.items()}

    @contextmanager
    def computing(self) -> Iterator[None]:
        """As a call computes: without gradients, with the threads of the runtime or of this thread."""
        threads = getattr(_OWN, "threads", self.threads)
        with torch.inference_mode(), torch_threads(threads if self.device.type == "cpu" else None):
            yield

    def wait(self) -> None:
        """Wait until the device has done all it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def _plain(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value


def take_threads(count: int) -> None:
    """From now on, runtimes that are called in this thread compute with so many CPU threads.

    torch keeps a number for each thread; but threads that are started later begin with the one that was set last.
    """
    torch.set_num_threads(count)
    _OWN.threads = count


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """CPU threads inside one operator, for the time of the context; None changes nothing."""
    before = torch.get_num_threads()
    if count is None or count == before:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
