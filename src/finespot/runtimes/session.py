"""`Session`: the one thing that runs a network, whatever runs it.

It takes prepared pictures (uint8 RGB, padded to multiples of the stride) and returns the head's raw output; decoding
and selecting belong to the head, so that every runtime shares them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from finespot import registry, weights, zoo
from finespot.errors import unknown
from finespot.nn.heads import boxes_later
from finespot.nn.heads.selection import Selected
from finespot.runtimes.memory import within_memory
from finespot.runtimes.settings import choose_device, choose_precision, choose_threads, thread_limit
from finespot.structures import Architecture, Classes, Normalization
from finespot.weights import CHANNELS, Card

if TYPE_CHECKING:
    from finespot.structures import Targets
    from finespot.zoo import Detector


class Session:
    """A network ready to run.

    Parameters
    ----------
    source:
        A weight file, the name of bundled weights, or a live detector (in training: the averaged network), which
        is copied and left as it is.
    own_parts:
        For a weight file: import the modules outside FineSpot that it names as parts of its network, which runs
        their code. Without it such a file is refused.
    card:
        For a live detector: what is known of it. Without one, classes are named by their number.
    runtime:
        `auto` or the name of a registered runtime.
    threads:
        CPU threads; by default one for each core that this process may use, and no more than OMP_NUM_THREADS.
    precision:
        `auto` (fp16 on a GPU, fp32 on a CPU), `fp32`, `fp16` or `bf16`.
    device:
        `auto` (where a live detector lies, else the first GPU, else the CPU), `cpu`, `cuda`, `cuda:1` or `1`.

    Attributes
    ----------
    runtime, precision, threads, device:
        What was taken; `reason` says why, in one line.
    head, stride, card, classes:
        The head that decodes the raw output, the largest stride, the weight file's card and its class names.
    detector, network:
        The network as it was given or loaded, and what runs: a copy, fused and converted.
    """

    def __init__(
        self,
        source: str | Path | Detector,
        *,
        own_parts: bool = False,
        card: Card | None = None,
        runtime: str = "auto",
        threads: int | None = None,
        precision: str = "auto",
        device: str | torch.device = "auto",
    ) -> None:
        detector, self.card, own = _open(source, card, own_parts)
        self.detector = detector
        where = choose_device(str(device), own)
        self.device = torch.device(where.value)
        kind = choose_precision(precision, self.device)
        self.precision = kind.value
        self.threads = choose_threads(threads)
        self.runtime = _choose_runtime(runtime)
        why = "the only runtime installed" if runtime == "auto" else "asked for"
        cores = "asked for" if threads is not None else thread_limit().reason
        self.reason = (
            f"runtime {self.runtime} ({why}), device {self.device} ({where.reason}), "
            f"{self.precision} ({kind.reason}), {self.threads} threads ({cores})"
        )
        self._runner: Any = registry.build(
            "runtime",
            self.runtime,
            detector=detector,
            device=self.device,
            precision=self.precision,
            threads=self.threads,
            mean=self.card.mean,
            std=self.card.std,
        )
        self.network: Any = self._runner.network
        self.head: Any = self.network.head
        self.stride = int(detector.stride)

    @property
    def classes(self) -> Classes:
        """Names of what the network finds."""
        return self.card.classes

    def __call__(self, images: Tensor, truth: Targets | None = None) -> dict[str, Tensor]:
        """Run uint8 pictures (B, 3, H, W), sides multiples of the stride; returns the head's raw output.

        Channels-last memory is quickest. The output lies on the session's device, floating tensors as float32. `truth`
        is for networks that choose windows or cells by it (`select="oracle"`, `cells="oracle"`).

        Raises
        ------
        FineSpotError
            The device's memory does not suffice.
        """
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != CHANNELS:
            raise ValueError(
                f"expected uint8 pictures (B, {CHANNELS}, H, W) but got {images.dtype} {tuple(images.shape)}"
            )
        if images.shape[2] % self.stride or images.shape[3] % self.stride:
            raise ValueError(f"expected sides that are multiples of {self.stride} but got {tuple(images.shape[2:])}")
        count, _, height, width = images.shape
        with within_memory(f"{count} inputs of {width}x{height} px on {self.device}", "lower batch or imgsz"):
            return self._runner(images) if truth is None else self._runner(images, truth)  # type: ignore[no-any-return]

    def look(self, images: Tensor, truth: Targets | None = None) -> dict[str, Tensor]:
        """As a call, for `select` alone: on a CPU, heads that can leave boxes for later, when it is known where one is
        needed.
        """
        if self.device.type != "cpu":
            return self(images, truth)
        with boxes_later():
            return self(images, truth)

    def select(self, raw: dict[str, Tensor], conf: float, multi_label: bool = False) -> list[Selected]:
        """Boxes (n, 4), scores (n,) and labels (n,) of score `conf` or more, per picture; see `DenseHead.select`."""
        with self._runner.computing():
            return self.head.select(raw, conf, multi_label=multi_label)  # type: ignore[no-any-return]

    def warm_up(self, shape: tuple[int, int, int], rounds: int = 2) -> None:
        """Run gray pictures of `shape` (batch, height, width): the first call of a shape pays for its set-up."""
        batch, height, width = shape
        images = torch.full((batch, CHANNELS, height, width), 114, dtype=torch.uint8)
        for _ in range(rounds):
            self(images.contiguous(memory_format=torch.channels_last))
        self.wait()

    def wait(self) -> None:
        """Wait until the device has done all it was given."""
        self._runner.wait()


def _open(
    source: str | Path | Detector, card: Card | None, own_parts: bool
) -> tuple[Detector, Card, torch.device | None]:
    if isinstance(source, (str, Path)):
        if card is not None:
            raise ValueError("a weight file brings its own card: give a card only with a live detector")
        return (*weights.load(source, own_parts=own_parts), None)
    if card is None:
        head: Any = source.head
        architecture = source.architecture or Architecture("custom", "", head.classes)
        expected = zoo.normalization_of(source.architecture) if source.architecture else Normalization()
        names = Classes(tuple(str(i) for i in range(head.classes)))
        card = Card(architecture=architecture, classes=names, mean=expected.mean, std=expected.std)
    card.check()
    return source, card, next(source.parameters()).device


def _choose_runtime(name: str) -> str:
    known = registry.names("runtime")
    if name == "auto":
        return "torch"
    if name not in known and ":" not in name:
        raise unknown("runtime", name, ["auto", *known], where="runtime")
    return name
