"""What the files of the families share: a table of sizes, its rounding rules, the parts that options choose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from finespot.errors import FineSpotError, unknown
from finespot.structures import Architecture

if TYPE_CHECKING:
    from finespot.zoo.detector import Detector


@dataclass(frozen=True)
class Scale:
    """One size of a family: multipliers of depth and width, and the channels that the widest map may have before it."""

    depth: float
    width: float
    max_channels: int

    def channels(self, full: int) -> int:
        """Channels of a map that has `full` at width 1: rounded up to a multiple of 8."""
        return int(-(-min(full, self.max_channels) * self.width // 8) * 8)

    def repeats(self, full: int) -> int:
        """How often a unit is repeated that occurs `full` times at depth 1; single units stay."""
        return max(round(full * self.depth), 1) if full > 1 else full


@dataclass(frozen=True)
class Family:
    """A family of networks: its table of sizes, what builds one, and the option sets that have a name.

    `variants` maps a suffix of the name to options ("-p2" to {"p2": True}); `options` are the keys that the builder
    reads.
    """

    name: str
    sizes: Mapping[str, Scale]
    builder: Callable[[Architecture, Scale], Detector]
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"": {}})
    options: tuple[str, ...] = ()

    def __call__(self, architecture: Architecture) -> Detector:
        """Build the network of an architecture of this family."""
        if architecture.size not in self.sizes:
            raise unknown(f"{self.name} size", architecture.size, self.sizes)
        for key in architecture.options:
            if key not in self.options:
                raise unknown(f"{self.name} option", key, self.options)
        if architecture.channels:
            raise FineSpotError(f"{self.name}: this version cannot build networks from a channel table")
        return self.builder(architecture, self.sizes[architecture.size])

    def names(self) -> list[str]:
        """Names of all sizes and variants, variants last."""
        return [f"{self.name}{size}{suffix}" for suffix in self.variants for size in self.sizes]
