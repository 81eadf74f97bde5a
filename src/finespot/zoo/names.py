"""Names of networks: "yolo11n-p2" to an `Architecture` and back."""

from __future__ import annotations

from typing import Any, cast

import torch

from finespot import registry
from finespot.errors import FineSpotError, unknown
from finespot.structures import Architecture, Normalization
from finespot.zoo.detector import Detector
from finespot.zoo.family import Family


def families() -> list[Family[Any]]:
    """All registered families that have a table of sizes."""
    found = (registry.lookup("family", name) for name in registry.names("family"))
    return [one for one in found if isinstance(one, Family)]


def names() -> list[str]:
    """The names of all networks that can be built as they are."""
    return [name for family in families() for name in family.names()]


def is_name(name: str) -> bool:
    """Whether `architecture` knows a name: those that only build with further options are not among `names`."""
    return name in names() or any(name in family.unlisted for family in families())


def architecture(name: str, classes: int = 80, **options: Any) -> Architecture:
    """The architecture of a name, for a number of classes; `options` of its family, such as `neck="my_parts:Neck"`.

    Raises
    ------
    FineSpotError
        The name is unknown (the three nearest are offered), or there is no class.
    """
    if classes < 1:
        raise FineSpotError(f"expected one class or more but got {classes}", where=name)
    for family in families():
        for suffix, variant in family.variants.items():
            for size in family.sizes:
                if name == family.name_of(size, suffix) and name not in family.missing:
                    return Architecture(family.name, size, classes, {**variant, **options})
    raise unknown("model", name, names())


def name_of(architecture: Architecture) -> str:
    """The name of an architecture; options that no variant has are put in brackets behind it."""
    family = registry.lookup("family", architecture.family)
    if not isinstance(family, Family):
        return f"{architecture.family}{architecture.size}"
    options = dict(architecture.options)
    for suffix, wanted in sorted(family.variants.items(), key=lambda item: -len(item[1])):
        if all(options.get(key) == value for key, value in wanted.items()):
            rest = {key: value for key, value in options.items() if key not in wanted}
            more = f" ({', '.join(f'{key}={value}' for key, value in sorted(rest.items()))})" if rest else ""
            return f"{family.name_of(architecture.size, suffix)}{more}"
    return family.name_of(architecture.size)


def normalization_of(architecture: Architecture) -> Normalization:
    """What a network of this architecture expects of its input before it has weights of its own."""
    family = registry.lookup("family", architecture.family)
    if not isinstance(family, Family):
        return Normalization()
    return family.normalizations.get(architecture.size, family.normalization)


def build(architecture: Architecture) -> Detector:
    """The network of an architecture, freshly initialized, its memory laid out channels-last."""
    detector = cast(Detector, registry.build("family", architecture.family, architecture=architecture))
    return detector.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
