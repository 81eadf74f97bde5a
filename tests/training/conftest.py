"""A task small enough to check by hand: a linear map of the mean color, without BatchNorm."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import Precision
from torch import Tensor, nn

from finespot.data import Augment
from finespot.structures import Batch, LossTerms, Placement, Targets
from finespot.training.log import Log
from finespot.training.loop import Loop
from finespot.training.recipe import Ema, Recipe, Schedule, Sgd


class Toy:
    """Learns to give the mean of each picture; the loss is a mean over the batch's pictures."""

    def __init__(self, norm: bool = False) -> None:
        torch.manual_seed(0)
        layers: list[nn.Module] = [nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4) if norm else nn.Identity(), nn.Conv2d(4, 1, 1)]
        self.model: nn.Module = nn.Sequential(*layers)
        self.trainable: nn.Module = self.model
        self.epochs: list[int] = []
        self.starts: list[tuple[int, bool]] = []
        self.edits = 0
        self.poison: int | None = None

    def step(self, batch: Batch) -> LossTerms:
        images = batch.images.float() / 255
        error = (self.trainable(images).mean((1, 2, 3)) - images.mean((1, 2, 3))).square().mean()
        if self.poison is not None and self.poison in batch.indices:
            error = error * float("nan")
        return LossTerms({"box": error, "cls": 0.5 * error}, {"targets": torch.tensor(len(batch))})

    def before_step(self) -> None:
        self.edits += 1

    def epoch_start(self, epoch: int, closing: bool) -> None:
        self.starts.append((epoch, closing))

    def epoch_end(self, epoch: int) -> None:
        self.epochs.append(epoch)


@dataclass
class ToyLoader:
    """Fixed random pictures in order, or shuffled by the epoch."""

    pictures: int = 8
    batch: int = 2
    side: int = 8
    asked: list[tuple[int, Augment]] = field(default_factory=list)

    def __len__(self) -> int:
        return -(-self.pictures // self.batch)

    def epoch(self, epoch: int, augment: Augment) -> Iterator[Batch]:
        self.asked.append((epoch, augment))
        data = torch.randint(
            0, 256, (self.pictures, 3, self.side, self.side), generator=torch.Generator().manual_seed(1)
        )
        for rows in torch.arange(self.pictures).split(self.batch):
            count = len(rows)
            none = torch.zeros(0, dtype=torch.int64)
            targets = Targets(torch.zeros(0, 4), none, none, torch.zeros(0, dtype=torch.bool), count)
            placements = (Placement((1, 1), (0, 0), (self.side, self.side)),) * count
            yield Batch(data[rows].to(torch.uint8), targets, placements, tuple(rows.tolist()), {"too small": 1})


class ToyKeeper:
    """Remembers rows and states instead of writing files."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.rows: list[dict[str, Any]] = []
        self.states: list[dict[str, Any]] = []
        self.best: list[bool] = []

    def first_batches(self, batch: Batch) -> None:
        self.batches.append(batch)

    def epoch(self, row: dict[str, Any], model: nn.Module, best: bool, state: dict[str, Any]) -> None:
        self.rows.append(row)
        self.best.append(best)
        self.states.append(torch.load(_saved(state), weights_only=True))


def _saved(state: dict[str, Any]) -> Any:
    stream = io.BytesIO()
    torch.save(state, stream)
    stream.seek(0)
    return stream


PLAIN = {
    "epochs": 3,
    "batch": 2,
    "nominal_batch": 2,
    "optimizer": Sgd(lr=0.1, momentum=0.0, weight_decay=0.0),
    "schedule": Schedule(warmup_epochs=0),
    "ema": Ema(decay=0.5, tau=1.0),
    "close_mosaic": 0,
}


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Networks this small only lose by threads."""
    torch.set_num_threads(1)


@pytest.fixture
def make_loop() -> Callable[..., Loop]:
    def make(
        task: Toy | None = None,
        loader: ToyLoader | None = None,
        scores: Callable[[int], float | None] = lambda epoch: None,
        precision: str | Precision = "32-true",
        **keys: Any,
    ) -> Loop:
        task, loader, keeper = task or Toy(), loader or ToyLoader(), ToyKeeper()
        calls: list[int] = []

        def validate(model: nn.Module) -> dict[str, float | None]:
            calls.append(1)
            value = scores(len(calls))
            return {"AP": value, "fitness": value}

        numbers = {"precision": precision} if isinstance(precision, str) else {"plugins": precision}
        fabric = Fabric(accelerator="cpu", devices=1, **numbers)  # type: ignore[arg-type]
        fabric.launch()
        return Loop(
            Recipe(**{**PLAIN, **keys}),
            task,
            loader,
            fabric,
            keeper=keeper,
            validate=validate,
            names=lambda batch: [f"{index}.jpg" for index in batch.indices],
            log=Log(quiet=True),
        )

    return make


@pytest.fixture
def weights_of() -> Callable[[Loop], Tensor]:
    def flat(loop: Loop) -> Tensor:
        return torch.cat([p.detach().flatten() for p in loop.task.model.parameters()])

    return flat


class _Toys:
    Task, Loader, Keeper = Toy, ToyLoader, ToyKeeper


@pytest.fixture
def toys() -> type:
    """The toy classes, for tests that change them."""
    return _Toys
