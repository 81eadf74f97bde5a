"""The tables of the systems' pages are those of the studies that were run (`benchmarks/systems/measured`)."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MEASURED = ROOT / "benchmarks" / "systems" / "measured"
# Of each page, the tables in its part "Measured ablation", in order; None: its figures were not kept.
TABLES: dict[str, list[str | None]] = {
    "yolo-sod": ["yolo-sod", "yolo-sod-curriculum"],
    "yolo11-ass": ["yolo11-ass"],
    "lrs-detr": ["lrs-detr"],
    "sarl-sal": [None, "sarl-yolox"],
}
COLUMNS = {"very tiny": "AP_vt", "tiny": "AP_t", "small": "AP_s", "medium": "AP_m"}


def tables(page: str) -> list[list[list[str]]]:
    """Those with a column AP50, as rows of cells, the first of which are the names of the columns."""
    text = (ROOT / "docs" / "systems" / f"{page}.md").read_text().partition("## Measured ablation")[2]
    blocks: list[list[list[str]]] = [[]]
    for line in text.partition("\n## ")[0].splitlines():
        if line.startswith("|"):
            blocks[-1].append([cell.strip() for cell in line.split("|")[1:-1]])
        elif blocks[-1]:
            blocks.append([])
    return [[block[0], *block[2:]] for block in blocks if block and "AP50" in block[0]]


@pytest.mark.parametrize("page", TABLES)
def test_tables_are_those_of_the_studies(page: str) -> None:
    shown = tables(page)
    assert len(shown) == len(TABLES[page])
    for (names, *rows), study in zip(shown, TABLES[page]):
        if study is None:
            continue
        with (MEASURED / f"{study}.csv").open(newline="") as file:
            measured = list(csv.DictReader(file))
        assert len(rows) == len(measured)
        for row, values in zip(rows, measured):
            for name, cell in zip(names[1:], row[1:]):
                if name == "parameters":
                    assert cell.replace(",", "") in (values["parameters"], values["parameters fused"])
                elif name != "ms":  # taken apart, on an idle machine
                    assert cell == f"{100 * float(values[COLUMNS.get(name, name)]):.1f}", (study, values["row"], name)


def test_every_study_that_was_run_stands_on_a_page() -> None:
    shown = {one for names in TABLES.values() for one in names if one is not None}
    assert {path.stem for path in MEASURED.glob("*.csv")} == shown
