"""A dense head's raw output by rows (picture * N + point), decoded on demand, as assigners and losses read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from finespot.nn.heads.points import candidates_of, input_size

# Raw box values (K, C) at anchors (K, 3 or 5) to boxes (K, 4) xyxy in input pixels.
Decode = Callable[[Tensor, Tensor], Tensor]
# Rows that are decoded together: distributions of so many stay in cache.
_SHARE = 8192


class Rows:
    """Box values, class logits and objectness of every point in float32; the assigner's `Predictions`.

    `decode` makes boxes of box values; `offset` is the head's (see `DenseHead`), `repeats` its anchors a cell. Class
    probabilities are the sigmoid of "scores", times that of "objectness" where the head gives it.
    """

    def __init__(
        self, raw: Mapping[str, Tensor], strides: Sequence[int], decode: Decode, offset: float, repeats: int = 1
    ) -> None:
        self.logits = _by_row(raw["scores"])
        self.objectness = _by_row(raw["objectness"]) if "objectness" in raw else None
        self.candidates = candidates_of(raw["anchors"], strides, repeats, offset)
        self.image_size = input_size(raw["anchors"], offset)
        # These are many where sides are distributions: only the rows that are asked for become float32.
        self._values = raw["boxes"].transpose(1, 2).flatten(0, 1)
        self._anchors = raw["anchors"][0].float()
        self.decode = decode

    def values(self, rows: Tensor) -> Tensor:
        """Raw box values (K, C), with gradient."""
        return self._values.index_select(0, rows).float()

    def anchors(self, rows: Tensor) -> Tensor:
        """Center and stride (K, 3) of the points, with anchor boxes their sides too (K, 5)."""
        return self._anchors[rows % len(self._anchors)]

    def pictures(self, rows: Tensor) -> Tensor:
        """Which picture of the batch (K,) each row is of."""
        return rows // len(self._anchors)

    def place(self, rows: Tensor) -> Tensor:
        """Decoded boxes (K, 4), with gradient."""
        return self.decode(self.values(rows), self.anchors(rows))

    @torch.no_grad()
    def boxes(self, rows: Tensor) -> Tensor:
        """Decoded boxes (K, 4) without gradient."""
        return torch.cat([self.place(part) for part in rows.split(_SHARE)])

    @torch.no_grad()
    def scores(self, rows: Tensor, labels: Tensor) -> Tensor:
        """Class probabilities (K,) without gradient."""
        found = torch.sigmoid(self.logits[rows, labels])
        return found if self.objectness is None else found * torch.sigmoid(self.objectness[rows, 0])

    @torch.no_grad()
    def class_scores(self, rows: Tensor) -> Tensor:
        """Class probabilities (K, classes) without gradient."""
        found = torch.sigmoid(self.logits[rows])
        return found if self.objectness is None else found * torch.sigmoid(self.objectness[rows])


def _by_row(values: Tensor) -> Tensor:
    return values.transpose(1, 2).flatten(0, 1).float()
