"""What the files of the families share: a table of sizes, its rounding rules, the parts that options choose."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

from torch import nn

from finespot.errors import FineSpotError, unknown
from finespot.registry import lookup, make, takes
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
    reads beside those of `PARTS`; names of networks begin with `stem` (where it is not the family's name), and
    `separator` stands between that and the size; `normalization` is what a network without weights expects of its
    input, `normalizations` that of single sizes where it differs; `recipe` names the recipe that its networks are
    trained by, where it is not the family's name; `missing` are names of size and variant that there is no network of,
    `unlisted` those that need a further option: without it the builder says why it refuses.
    """

    name: str
    sizes: Mapping[str, Size]
    builder: Callable[[Architecture, Size], Detector]
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"": {}})
    options: tuple[str, ...] = ()
    separator: str = ""
    normalization: Normalization = field(default_factory=Normalization)
    missing: tuple[str, ...] = ()
    stem: str = ""
    unlisted: tuple[str, ...] = ()
    recipe: str = ""
    normalizations: Mapping[str, Normalization] = field(default_factory=dict)

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
        return f"{self.stem or self.name}{self.separator}{size}{suffix}"

    def names(self) -> list[str]:
        """Names of all sizes and variants, variants last."""
        known = (self.name_of(size, suffix) for suffix in self.variants for size in self.sizes)
        return [name for name in known if name not in self.missing + self.unlisted]


def backbone_of(
    architecture: Architecture, own: Callable[[], nn.Module], strides: Sequence[int], **offered: Any
) -> nn.Module:
    """The backbone that the option `backbone` names, or the own: offered `strides`, those of the levels to give, and
    what the own one takes.
    """
    if architecture.options.get("backbone") is None:
        return own()
    return _named(architecture, "backbone", "", strides=tuple(strides), **offered)


def relay_of(architecture: Architecture, backbone: nn.Module, own: str | None = None) -> nn.Module | None:
    """The relay that the option `relay` names, or the own, if any: offered `levels`, those of the backbone.

    An option `relay` that is None means none, also where the family has one of its own.
    """
    if architecture.options.get("relay", own) is None:
        return None
    return _named(architecture, "relay", own or "", levels=levels_of("backbone", backbone))


def neck_of(architecture: Architecture, own: str, before: nn.Module, **offered: Any) -> nn.Module:
    """The neck that the option `neck` names, or the own: offered `inputs`, the levels of the part before it, and what
    the own one takes.
    """
    return _named(architecture, "neck", own, inputs=levels_of("part before the neck", before), **offered)


def head_of(architecture: Architecture, own: str, neck: nn.Module, **offered: Any) -> nn.Module:
    """The head that the option `head` names, or the own: offered `levels`, those of the neck, `classes`, and what the
    own one takes.
    """
    levels = levels_of("neck", neck)
    return _named(architecture, "head", own, levels=levels, classes=architecture.classes, **offered)


def head_takes(architecture: Architecture, option: str) -> bool:
    """Whether the network has an option that is its head's, and its head, its own or another, looks at it."""
    family = lookup("family", architecture.family)
    named = architecture.options.get("head")
    return option in getattr(family, "options", ()) and (named is None or takes("head", named, option))


def flag_of(architecture: Architecture, option: str, default: bool = False) -> bool:
    """An option that is true or false.

    Raises
    ------
    FineSpotError
        It is something else: a word, for example, that would only look like a choice.
    """
    value = architecture.options.get(option, default)
    if not isinstance(value, bool):
        raise FineSpotError(f"expected {option} to be true or false but got {value}", where=architecture.family)
    return value


def refuse_idle(architecture: Architecture, option: str, *parts: str) -> None:
    """Raise FineSpotError where `option` is given but all `parts` that it changes are exchanged."""
    if option in architecture.options and all(architecture.options.get(part) is not None for part in parts):
        raise idle(architecture, option, f"the {' and '.join(parts)} is exchanged")


def idle(architecture: Architecture, option: str, why: str) -> FineSpotError:
    """The error of an option that changes nothing, for a reason."""
    return FineSpotError(f"the option {option} has no effect, as {why}", where=architecture.family, hint="leave it out")


def _named(architecture: Architecture, kind: str, own: str, **offered: Any) -> nn.Module:
    named = architecture.options.get(kind)
    if named is None:
        return cast(nn.Module, make(kind, own, **offered))
    if not isinstance(named, str):
        raise FineSpotError(f"expected the name of a {kind} but got {named}", where=architecture.family)
    for option in offered:
        if option in architecture.options and not takes(kind, named, option):
            raise idle(architecture, option, f"the {kind} is exchanged")
    return cast(nn.Module, make(kind, named, **offered))
