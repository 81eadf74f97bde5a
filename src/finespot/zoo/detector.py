"""Backbone, relay, neck and head joined to one network.

A relay is an optional part between backbone and neck that maps `Features` to `Features` (it may add auxiliary outputs
or choose windows). A relay that learns from the truth has a `loss` of its own; the raw output then holds the auxiliary
outputs that it reads. Parts fit when the levels that one gives are those that the next takes.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

from finespot.errors import FineSpotError
from finespot.structures import Architecture, Features, Level, LossTerms, Targets

_LOSS = "head.criterion."


class Detector(nn.Module):
    """Pictures (B, 3, H, W), float 0..1, to the head's raw output. Sides must be multiples of `stride`, the
    backbone's largest, or more where a part says so (`multiple`).

    Raises
    ------
    FineSpotError
        The levels of two neighboring parts differ.
    """

    head: Any

    def __init__(
        self,
        backbone: nn.Module,
        relay: nn.Module | None,
        neck: nn.Module,
        head: nn.Module,
        architecture: Architecture | None = None,
    ) -> None:
        super().__init__()
        parts = [("backbone", backbone), ("relay", relay), ("neck", neck), ("head", head)]
        _check_fit([(name, part) for name, part in parts if part is not None])
        self.backbone, self.relay, self.neck, self.head = backbone, relay, neck, head
        self.architecture = architecture
        coarsest = max(level.stride for level in levels_of("backbone", backbone))
        self.stride = math.lcm(coarsest, *(int(getattr(part, "multiple", 1)) for _, part in parts if part is not None))

    def forward(self, images: Tensor, targets: Targets | None = None) -> Any:
        self.check(images)
        features: Features = self.backbone(images)
        if self.relay is not None:
            features = self.relay(features)
        raw = self.head(self.neck(features), targets)
        return {**raw, **features.auxiliary} if features.auxiliary else raw

    def check(self, images: Tensor) -> None:
        """Raise FineSpotError unless the sides of pictures (B, 3, H, W) are multiples of `stride`."""
        height, width = images.shape[-2:]
        if height % self.stride or width % self.stride:
            raise FineSpotError(
                f"expected input sides that are multiples of {self.stride} but got {height} x {width}",
                hint="letterbox the picture to such a size",
            )

    def loss(
        self, raw: Any, targets: Targets, content: Tensor | None = None, shapes: Tensor | None = None
    ) -> LossTerms:
        """The losses of the head and, where it has one, of the relay.

        Parameters
        ----------
        content:
            (B, 4) xyxy in input pixels: where the pictures lie in the input, for a relay. None: everywhere.
        shapes:
            (B, 1, H, W), set on the pixels of objects, for a relay. None: not known.
        """
        found = cast(LossTerms, self.head.loss(raw, targets))
        if not self.relay_learns:
            return found
        more = cast(LossTerms, cast(Any, self.relay).loss(raw, targets, content, shapes))
        return LossTerms({**found.terms, **more.terms}, {**found.counts, **more.counts})

    @property
    def relay_learns(self) -> bool:
        """Whether there is a relay with a loss of its own."""
        return callable(getattr(self.relay, "loss", None))

    def network_state(self) -> dict[str, Tensor]:
        """The state dict without what the head's loss keeps (`head.criterion`): that is training, not network."""
        return {name: tensor for name, tensor in self.state_dict().items() if not name.startswith(_LOSS)}

    def switch_off(self, levels: Collection[int | str]) -> None:
        """Leave levels of the head, by name (`p2`) or stride (4), out of assignment, loss and prediction, as if it had
        been made without them; all others are on.

        Raises
        ------
        FineSpotError
            The head lacks a level, would be left without any, or cannot switch its levels.
        """
        if not all(hasattr(self.head, name) for name in ("set_active", "active", "level_names")):
            if levels:
                raise FineSpotError(
                    f"the head {type(self.head).__name__} predicts from all its levels at once, so none can be off",
                    where="levels",
                )
            return
        names: tuple[str, ...] = self.head.level_names
        by_word = {**{level.stride: name for name, level in zip(names, self.head.inputs)}, **{n: n for n in names}}
        for level in levels:
            if level not in by_word:
                own = ", ".join(f"{name} (stride {one.stride})" for name, one in zip(names, self.head.inputs))
                raise FineSpotError(f"the head has no level {level}", where="levels", hint=f"it has {own}")
        off = {by_word[level] for level in levels}
        if len(off) == len(names):
            raise FineSpotError(f"no level would be on: the head has only {', '.join(names)}", where="levels")
        self.head.set_active([name not in off for name in names])

    @property
    def levels_off(self) -> list[str]:
        """The names of the head's levels that are switched off."""
        active = getattr(self.head, "active", None)
        return [] if active is None else [name for name, on in zip(self.head.level_names, active) if not on]

    def fused(self) -> Detector:
        """A copy for inference: batch norm folded in, forks joined, eval mode, no gradients. Same output to 1e-4."""
        twin = copy.deepcopy(self).eval().requires_grad_(False)
        for module in list(twin.modules()):
            fuse = getattr(module, "fuse", None)
            if callable(fuse):
                fuse()
        return twin.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _check_fit(parts: Sequence[tuple[str, nn.Module]]) -> None:
    for (before, giver), (after, taker) in pairwise(parts):
        given, taken = levels_of(before, giver, "levels"), levels_of(after, taker, "inputs")
        if given != taken:
            raise FineSpotError(
                f"the {after} expects {_words(taken)} but the {before} gives {_words(given)}",
                where="detector",
                hint=f"build the {after} from the {before}'s levels",
            )


def levels_of(name: str, part: nn.Module, attribute: str = "levels") -> tuple[Level, ...]:
    """The levels that a part gives, or takes (`attribute` "inputs"); an error that names it where it says none."""
    levels = getattr(part, attribute, None)
    if not isinstance(levels, tuple) or not all(isinstance(level, Level) for level in levels):
        raise FineSpotError(
            f"the {name} {type(part).__name__} has no '{attribute}', a tuple of Level", where="detector"
        )
    return levels


def _words(levels: Sequence[Level]) -> str:
    return ", ".join(f"{level.channels} channels at stride {level.stride}" for level in levels)
