"""What the files of the families share: a table of sizes, its rounding rules, the parts that options choose."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

from torch import nn

from finespot.errors import FineSpotError, unknown
from finespot.registry import make
from finespot.structures import Architecture, Normalization
from finespot.zoo.detector import Detector, levels_of

# The parts of a network that an option of the same name exchanges.
PARTS = ("backbone", "relay", "neck", "head")


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


Size = TypeVar("Size")


@dataclass(frozen=True)
class Family(Generic[Size]):
    """A family of networks: its table of sizes, what builds one, and the option sets that have a name.

    `variants` maps a suffix of the name to options ("-p2" to {"p2": True}); `options` are the keys that the builder
    reads beside those of `PARTS`; `separator` stands between name and size; `normalization` is what a network without
    weights expects of its input; `missing` are names of size and variant that there is no network of.
    """

    name: str
    sizes: Mapping[str, Size]
    builder: Callable[[Architecture, Size], Detector]
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"": {}})
    options: tuple[str, ...] = ()
    separator: str = ""
    normalization: Normalization = field(default_factory=Normalization)
    missing: tuple[str, ...] = ()

    def __call__(self, architecture: Architecture) -> Detector:
        """Build the network of an architecture of this family."""
        if architecture.size not in self.sizes:
            raise unknown(f"{self.name} size", architecture.size, self.sizes)
        for key in architecture.options:
            if key not in self.options + PARTS:
                raise unknown(f"{self.name} option", key, self.options + PARTS)
        if architecture.channels:
            raise FineSpotError(f"{self.name}: this version cannot build networks from a channel table")
        return self.builder(architecture, self.sizes[architecture.size])

    def name_of(self, size: str, suffix: str = "") -> str:
        """The name of one network."""
        return f"{self.name}{self.separator}{size}{suffix}"

    def names(self) -> list[str]:
        """Names of all sizes and variants, variants last."""
        known = (self.name_of(size, suffix) for suffix in self.variants for size in self.sizes)
        return [name for name in known if name not in self.missing]


def backbone_of(architecture: Architecture, own: Callable[[], nn.Module], strides: Sequence[int]) -> nn.Module:
    """The backbone that the option `backbone` names (offered `strides`, those of the levels to give), or the own."""
    named = architecture.options.get("backbone")
    return own() if named is None else cast(nn.Module, make("backbone", named, strides=tuple(strides)))


def relay_of(architecture: Architecture, backbone: nn.Module) -> nn.Module | None:
    """The relay that the option `relay` names (offered `levels`, those of the backbone), if any."""
    named = architecture.options.get("relay")
    return None if named is None else cast(nn.Module, make("relay", named, levels=levels_of("backbone", backbone)))


def neck_of(architecture: Architecture, own: str, before: nn.Module, **offered: Any) -> nn.Module:
    """The neck that the option `neck` names, or the own: offered `inputs`, the levels of the part before it, and what
    the own one takes.
    """
    named = architecture.options.get("neck", own)
    return cast(nn.Module, make("neck", named, inputs=levels_of("part before the neck", before), **offered))


def head_of(architecture: Architecture, own: str, neck: nn.Module, **offered: Any) -> nn.Module:
    """The head that the option `head` names, or the own: offered `levels`, those of the neck, `classes`, and what the
    own one takes.
    """
    named = architecture.options.get("head", own)
    levels = levels_of("neck", neck)
    return cast(nn.Module, make("head", named, levels=levels, classes=architecture.classes, **offered))
