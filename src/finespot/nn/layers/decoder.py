"""One layer of a DETR decoder: queries look at each other, then at the maps, then pass a feed-forward.

Post-norm, after "Deformable DETR" (2020) and "RT-DETR" (2023, section 4.4): the positions of queries come from their
present boxes and are added to queries and keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from finespot.nn.layers.deformable_attention import DeformableAttention
from finespot.nn.layers.transformer import FeedForward, SelfAttention
from finespot.structures import Size


class DecoderLayer(nn.Module):
    """Queries (B, Q, C) to the same shape; see `SelfAttention` and `DeformableAttention` for the other inputs."""

    def __init__(self, width: int, heads: int, feedforward: int, levels: int, points: int) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads)
        self.attention_norm = nn.LayerNorm(width)
        self.cross = DeformableAttention(width, heads, levels, points)
        self.cross_norm = nn.LayerNorm(width)
        self.feedforward = FeedForward(width, feedforward, F.relu)
        self.feedforward_norm = nn.LayerNorm(width)

    def forward(
        self,
        queries: Tensor,
        position: Tensor,
        boxes: Tensor,
        memory: Tensor,
        sizes: Sequence[Size],
        allowed: Tensor | None = None,
    ) -> Tensor:
        queries = self.attention_norm(queries + self.attention(queries, position, allowed))
        queries = self.cross_norm(queries + self.cross(queries + position, boxes, memory, sizes))
        return cast(Tensor, self.feedforward_norm(queries + self.feedforward(queries)))
