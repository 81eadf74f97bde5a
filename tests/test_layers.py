"""The package structure: which package may import which, and what importing FineSpot must not load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import finespot

ROOT = Path(finespot.__file__).parent
# A package imports only from layers below its own; the same number must not import each other.
LAYERS = {
    "cli": 14,
    "studies": 13,
    "exports": 12,
    "compression": 11,
    "training": 10,
    "inference": 9,
    "runtimes": 8,
    "weights": 7,
    "zoo": 6,
    "metrics": 5,
    "data": 5,
    "nn": 5,
    "tiling": 4,
    "losses": 4,
    "assigners": 4,
    "writers": 4,
    "boxes": 3,
    "images": 3,
    "structures": 2,
    "registry": 2,
    "errors": 1,
}
FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def imports(path: Path) -> list[str]:
    """Dotted names of FineSpot modules that a file imports, wherever in the file the import stands."""
    found = []
    package = ["finespot", *path.relative_to(ROOT).parent.parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            found.append(".".join([*package[: len(package) - node.level + 1], node.module or ""]))
        elif isinstance(node, ast.ImportFrom) and node.module == "finespot":
            found += [f"finespot.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
    return [name for name in found if name.startswith("finespot.")]


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for name in imports(path):
        other = name.split(".")[1]
        if other in ("__version__",):
            continue
        assert other == own or LAYERS[other] < LAYERS[own], f"{own} must not import {name}"


@pytest.mark.slow
def test_no_circles_inside_a_package() -> None:
    modules = {
        ".".join(["finespot", *p.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__"): p for p in FILES
    }
    graph = {name: set(_module_imports(path, modules)) for name, path in modules.items()}
    done: set[str] = set()

    def walk(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        if name in done:
            return
        for target in graph[name]:
            walk(target, (*trail, name))
        done.add(name)

    for name in graph:
        walk(name, ())


def _module_imports(path: Path, modules: dict[str, Path]) -> set[str]:
    """Modules imported when the file itself is imported (top level only; not under TYPE_CHECKING)."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("finespot"):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in modules else node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    own = ".".join(["finespot", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")
    return {name for name in found if name in modules and name != own}


@pytest.mark.parametrize("statement", ["import finespot", "import finespot.cli"])
def test_import_is_light(statement: str) -> None:
    code = f"{statement}; import sys; print([m for m in ('torch', 'numpy', 'matplotlib', 'PIL') if m in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
