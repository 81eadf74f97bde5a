"""Installed size: MiB that FineSpot's and the peer's run-time requirements add to torch.

    .peers/run -m benchmarks.peers.install_size [--json FILE]

Sizes come from the file lists of the installed distributions (bytes on disk of every listed file), requirements
from their metadata, followed through without extras. What torch itself needs counts as torch.
"""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from benchmarks.report import arguments, publish, table

MIB = 2**20


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(name: str) -> list[str]:
    """Names of the requirements that apply here: no extras, markers evaluated."""
    from packaging.requirements import Requirement

    parsed = (Requirement(line) for line in distribution(name).requires or [])
    return [canonical(one.name) for one in parsed if one.marker is None or one.marker.evaluate({"extra": ""})]


def closure(name: str) -> set[str]:
    """The distribution and everything that it requires, directly or not, as far as installed."""
    found: set[str] = set()
    waiting = [canonical(name)]
    while waiting:
        one = waiting.pop()
        if one in found:
            continue
        try:
            waiting += requirements(one)
        except PackageNotFoundError:
            continue
        found.add(one)
    return found


def size_mib(name: str) -> float:
    """MiB on disk of the files that the distribution lists, compiled Python files left out."""
    paths = [Path(str(file.locate())) for file in distribution(name).files or [] if file.suffix != ".pyc"]
    return sum(path.stat().st_size for path in paths if path.is_file()) / MIB


def added(name: str) -> dict[str, float]:
    """MiB of each distribution that `name` brings besides torch's own, largest first; `name` itself left out."""
    extra = closure(name) - closure("torch") - {canonical(name)}
    sizes = {one: round(size_mib(one), 1) for one in extra}
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))


def main() -> None:
    options = arguments(__doc__).parse_args()
    sides = {name: added(name) for name in ("finespot", "ultralytics")}
    for name, sizes in sides.items():
        print(f"{name}: {len(sizes)} distributions add {sum(sizes.values()):.1f} MiB to torch")
        print(table(["distribution", "MiB"], [[key, value] for key, value in sizes.items() if value >= 0.5]))
    totals = {name: round(sum(sizes.values()), 1) for name, sizes in sides.items()}
    publish({"benchmark": "install_size", "total_mib": totals, "added_mib": sides}, options.json, "ultralytics")


if __name__ == "__main__":
    main()
