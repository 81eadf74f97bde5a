"""A detector of four levels that is small enough for many trainings, and its task."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from finespot import registry
from finespot.structures import Batch, Features, Level, LossTerms, Targets
from finespot.zoo import Detector

LEVELS = (Level(8, 4), Level(8, 8), Level(8, 16), Level(8, 32))


class Backbone(nn.Module):
    """Convolutions with BatchNorm, one a level."""

    def __init__(self) -> None:
        super().__init__()
        self.levels = LEVELS
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 4, 4, bias=False), nn.BatchNorm2d(8), nn.SiLU())
        self.steps = nn.ModuleList(
            nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.SiLU()) for _ in LEVELS[1:]
        )

    def forward(self, images: Tensor) -> Features:
        maps = [self.stem(images)]
        for step in self.steps:
            maps.append(step(maps[-1]))
        return Features(maps, LEVELS)


class Neck(nn.Module):
    """A convolution for each level."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs = self.levels = LEVELS
        self.lateral = nn.ModuleList(nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)) for _ in LEVELS)

    def forward(self, features: Features) -> Features:
        return Features([part(x) for part, x in zip(self.lateral, features.maps)], LEVELS)


class Forward(nn.Module):
    def __init__(self, model: Detector) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Any:
        return self.model(images)


class TinyTask:
    """As the ordinary task, without a recipe."""

    def __init__(self, classes: int = 4) -> None:
        torch.manual_seed(0)
        head = registry.make("head", "anchor_free", levels=LEVELS, classes=classes, reg_max=4)
        self.model = Detector(Backbone(), None, Neck(), head)
        self.trainable: nn.Module = Forward(self.model)
        self.closing: list[bool] = []

    def step(self, batch: Batch) -> LossTerms:
        assert batch.targets is not None
        return self.model.loss(self.trainable(batch.images.float() / 255), batch.targets)

    def before_step(self) -> None:
        """Nothing to edit."""

    def epoch_start(self, epoch: int, closing: bool) -> None:
        self.closing.append(closing)

    def epoch_end(self, epoch: int) -> None:
        """Nothing to do."""


class Objects:
    """The same two random pictures in each of two batches, each with a small and a large object."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, Any]] = []

    def __len__(self) -> int:
        return 2

    def epoch(self, epoch: int, augment: Any) -> Any:
        self.asked.append((epoch, augment))
        generator = torch.Generator().manual_seed(1)
        boxes = torch.tensor([[3.0, 4, 11, 13], [8, 8, 60, 56], [40, 30, 49, 38], [2, 2, 60, 60]])
        targets = Targets(boxes, torch.tensor([0, 1, 2, 3]), torch.tensor([0, 0, 1, 1]), torch.zeros(4).bool(), 2)
        for _ in range(2):
            images = torch.randint(0, 256, (2, 3, 64, 64), generator=generator).to(torch.uint8)
            yield Batch(images, targets, (), (0, 1), {})
