"""Names to builders: how a recipe or a command line says which backbone, loss or data format it means.

A package registers its parts with a decorator; the package is imported when one of its names is first looked up,
so that listing or building one part does not load the others. A dotted path (`my.module:Neck`) reaches a class of
the user's own without an edit here.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from finespot.errors import FineSpotError, unknown

T = TypeVar("T", bound=Callable[..., Any])

# kind -> package that registers it on import. What has no tenant yet is not listed.
_PACKAGES = {
    "backbone": "finespot.nn.backbones",
    "neck": "finespot.nn.necks",
    "head": "finespot.nn.heads",
    "family": "finespot.zoo",
    "box_loss": "finespot.losses",
    "assigner": "finespot.assigners",
    "format": "finespot.data.formats",
    "protocol": "finespot.metrics",
    "runtime": "finespot.runtimes",
    "task": "finespot.training.tasks",
}
_builders: dict[str, dict[str, Callable[..., Any]]] = {kind: {} for kind in _PACKAGES}


def register(kind: str, name: str) -> Callable[[T], T]:
    """Decorator: make a class or function known as `name` among the builders of `kind`."""
    table = _table(kind)

    def keep(builder: T) -> T:
        if table.get(name, builder) is not builder:
            raise ValueError(f"{kind} '{name}' is registered twice")
        table[name] = builder
        return builder

    return keep


def lookup(kind: str, name: str) -> Callable[..., Any]:
    """The builder of `name`; `package.module:attribute` reaches code outside FineSpot.

    Raises
    ------
    FineSpotError
        The name is unknown (the three nearest are offered) or the dotted path cannot be imported.
    """
    if ":" in name:
        return _import_path(kind, name)
    table = _loaded(kind)
    if name not in table:
        raise unknown(kind.replace("_", " "), name, table)
    return table[name]


def build(kind: str, name: str, **options: Any) -> Any:
    """Look `name` up and call it with `options`.

    Raises
    ------
    FineSpotError
        As `lookup`; or what a dotted path names does not take these options.
    """
    builder = lookup(kind, name)
    if ":" in name:
        try:
            inspect.signature(builder).bind(**options)
        except TypeError as error:
            raise FineSpotError(
                f"the {kind.replace('_', ' ')} '{name}' is called with ({', '.join(options)}) but {error}",
                hint="name a class or a function that makes the part",
            ) from error
    return builder(**options)


def names(kind: str) -> list[str]:
    """All registered names of a kind, sorted."""
    return sorted(_loaded(kind))


def _table(kind: str) -> dict[str, Callable[..., Any]]:
    if kind not in _builders:
        raise ValueError(f"unknown kind '{kind}', expected one of {sorted(_builders)}")
    return _builders[kind]


def _loaded(kind: str) -> dict[str, Callable[..., Any]]:
    table = _table(kind)
    importlib.import_module(_PACKAGES[kind])
    return table


def _import_path(kind: str, path: str) -> Callable[..., Any]:
    module, _, attribute = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise FineSpotError(
            f"cannot import the {kind} '{path}' ({error})",
            hint="expected 'package.module:Name' on the Python path",
        ) from error
    if not callable(found):
        raise FineSpotError(f"expected a class or function at '{path}' but got {type(found).__name__}")
    return found  # type: ignore[no-any-return]
