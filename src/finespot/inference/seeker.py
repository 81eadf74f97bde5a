"""A seeker ready to use: where in a picture objects may be, on cells that part all of it.

    picture (H, W) -> scaled to whole cells -> network -> heat (rows, columns)

A picture is scaled so that its sides become whole numbers of cells, near `1 / reduction`: so every cell is an equal
share of the picture whatever its size, and nothing is padded.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from finespot.errors import FineSpotError
from finespot.images import resize
from finespot.inference.fingerprint import digest
from finespot.nn.seeker import SeekerNet
from finespot.runtimes import within_memory
from finespot.runtimes.settings import PRECISIONS, choose_device, choose_precision, choose_threads
from finespot.runtimes.torch_eager import torch_threads
from finespot.structures import Size
from finespot.weights import SeekerCard, read_seeker

# Of a seeker that nobody calibrated.
THRESHOLD = 0.5


class Seeker:
    """Says where a detector is to look.

    Parameters
    ----------
    network, card:
        The network, which is copied, and what is known of it.
    threads:
        CPU threads; by default one for each core that this process may use.
    device:
        `cpu`, `cuda`, `cuda:1` or `1`, or `auto`: the first GPU, else the CPU.
    precision:
        `fp32`, `bf16` or `fp16`; `auto` is bf16 on CPUs that have instructions for it, where a look takes half the time
        and heat differs by a hundredth or two, else fp32.

    Attributes
    ----------
    threshold:
        Cells of this heat or more are hot: as calibrated, else 0.5.
    recall, lost:
        The share of objects that the threshold was chosen to reach, and the share that it lost on the pictures it was
        chosen on; None where nobody calibrated it.
    precision, parameters:
        The number type that was taken, and how many parameters the network has.
    """

    def __init__(
        self,
        network: SeekerNet,
        card: SeekerCard,
        *,
        threads: int | None = None,
        device: str = "cpu",
        precision: str = "auto",
    ) -> None:
        card.check()
        self.card, self.threads = card, choose_threads(threads)
        self.device = torch.device(choose_device(device).value)
        self.precision = _precision(precision, self.device)
        found = card.calibration
        self.threshold = THRESHOLD if found is None else found.threshold
        self.recall = None if found is None else found.target
        self.lost = None if found is None else found.lost
        self.parameters = sum(parameter.numel() for parameter in network.parameters())
        twin = copy.deepcopy(network).eval().requires_grad_(False)
        for module in list(twin.modules()):
            if callable(fuse := getattr(module, "fuse", None)):
                fuse()
        self._network = twin.to(  # type: ignore[call-overload]
            device=self.device, dtype=PRECISIONS[self.precision], memory_format=torch.channels_last
        )

    def grid(self, size: Size) -> Size:
        """Rows and columns of cells of a picture of (height, width)."""
        rows, columns = (max(1, int(side / self.card.cell + 0.5)) for side in size)
        return rows, columns

    def gflops(self, size: Size) -> float:
        """1e9 operations of a look at a picture of (height, width), counted without computing."""
        rows, columns = self.grid(size)
        stride, kind = self.card.stride, PRECISIONS[self.precision]
        reduced = torch.empty(1, 3, rows * stride, columns * stride, device="meta", dtype=kind)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            copy.deepcopy(self._network).to("meta")(reduced)
        return float(counter.get_total_flops()) / 1e9

    def fingerprint(self) -> list[Any]:
        """What decides its heat and threshold, as plain values."""
        return [digest(self._network), self.card.cell, self.threshold, self.precision, str(self.device), self.threads]

    def heat(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The heat (rows, columns), 0 to 1, of a picture (H, W, 3) uint8 RGB; a cell is an equal share of it.

        Raises
        ------
        FineSpotError
            The pixels have another form, or the memory does not suffice.
        """
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or 0 in pixels.shape:
            raise FineSpotError(f"expected uint8 pixels (H, W, 3) but got {pixels.dtype} {pixels.shape}")
        rows, columns = self.grid((pixels.shape[0], pixels.shape[1]))
        stride = self.card.stride
        what = f"a seeker's look at {pixels.shape[1]}x{pixels.shape[0]} px on {self.device}"
        count = self.threads if self.device.type == "cpu" else None
        with torch.inference_mode(), torch_threads(count), within_memory(what, "cut the picture into parts"):
            reduced = torch.from_numpy(resize(pixels, (rows * stride, columns * stride)))
            # Rows of pixels are channels last as they are.
            logits = self._network(reduced.to(self.device).permute(2, 0, 1)[None])
            heat: NDArray[np.float32] = torch.sigmoid(logits[0, 0].float()).cpu().numpy()
        return heat


def load_seeker(
    path: str | Path, *, threads: int | None = None, device: str = "cpu", precision: str = "auto"
) -> Seeker:
    """A seeker from a weight file or the name of bundled weights; `threads`, `device` and `precision` as in `Seeker`.

    Raises
    ------
    FineSpotError
        There is no such file, or it holds no seeker that fits.
    """
    network, card = read_seeker(path)
    return Seeker(network, card, threads=threads, device=device, precision=precision)


def _precision(asked: str, device: torch.device) -> str:
    if asked != "auto":
        return choose_precision(asked, device).value
    # Elsewhere torch computes bf16 by way of fp32, which is slower than fp32.
    quick = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return "bf16" if device.type == "cpu" and quick() else "fp32"
