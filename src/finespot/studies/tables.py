"""A study's results as a table for the terminal, as Markdown and as CSV. People read percent, files hold 0 to 1."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from finespot.studies.results import Difference, Line, Results, Spread
from finespot.zoo import RULES


def terminal(results: Results) -> Any:
    """Two `rich` tables, as one of all columns is wider than most terminals: scores, then costs and claims; below them
    the remarks.
    """
    from rich.console import Group
    from rich.text import Text

    from finespot.writers.table import ResultTable

    texts, numbers = _head(results)
    claims = any(line.row.claim for line in results.lines)
    names, cut = len(texts), numbers.index("difference") + 1
    scores = ResultTable(texts, numbers[:cut], title=results.study.title, box=None, pad_edge=False)
    costs = ResultTable(
        texts[:1], numbers[cut:], title="costs and claims" if claims else "costs", box=None, pad_edge=False
    )
    for line in results.lines:
        cells = _cells(results, line)
        scores.row(*cells[: names + cut])
        costs.row(cells[0], *cells[names + cut :])
    return Group(scores, costs, *(Text(remark) for remark in remarks(results)))


def markdown(results: Results) -> str:
    """The same as a Markdown page."""
    texts, numbers = _head(results)
    rows = [["**" + title + "**" for title in (*texts, *numbers)], ["---"] * len(texts) + ["--:"] * len(numbers)]
    rows += [[_escaped(cell) for cell in _cells(results, line)] for line in results.lines]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
    changes = [f"* {line.row.name}: {_changes(line)}" for line in results.lines]
    parts = [
        f"# {results.study.title}",
        table,
        "\n".join(f"* {_escaped(remark)}" for remark in remarks(results)),
        "## Rows",
        "\n".join(_escaped(change) for change in changes),
    ]
    return "\n\n".join(parts) + "\n"


def comma_separated(results: Results) -> str:
    """One line a row: every score's mean and half range over seeds, and its difference to the baseline."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    labels = results.study.labels
    claimed = sorted({name for line in results.lines if line.row.claim for name in line.row.claim.values})
    writer.writerow(
        [
            *("row", "group", "seeds", "failed"),
            *(f"{label}{more}" for label in labels for more in ("", " half range", " difference")),
            *("parameters", "parameters fused", "gflops", "gflops fused", "ms", "ms low", "ms high"),
            *(f"claimed {name}" for name in claimed),
        ]
    )
    percent = set(labels)
    for line in results.lines:
        claim = line.row.claim.values if line.row.claim else {}
        cost, latency = line.cost, line.latency
        writer.writerow(
            [
                *(line.row.name, line.row.group, len(line.done), len(line.failed)),
                *(cell for label in labels for cell in _score_cells(line, label)),
                *(cost.parameters, cost.parameters_fused, _short(cost.gflops), _short(cost.gflops_fused)),
                *(map(_short, (latency.median, latency.low, latency.high)) if latency else ("", "", "")),
                *(_short(claim[name] / (100 if name in percent else 1)) if name in claim else "" for name in claimed),
            ]
        )
    return text.getvalue()


def remarks(results: Results) -> list[str]:
    """How the numbers came about, and what went wrong, one line each."""
    study, cost = results.study, results.lines[0].cost
    seeds = ", ".join(map(str, study.seeds))
    several = "mean ± half the range over seeds" if len(study.seeds) > 1 else "one seed, so their spread is not known"
    lines = [
        f"scores in percent, {study.protocol} on {results.data} {results.split}, of the averaged weights of the last "
        f"of {study.rows[0].recipe.epochs} epochs; seeds {seeds}: {several}",
        f"difference: {results.main} minus that of '{study.baseline}', seed by seed"
        + ("; * where the ranges of the two do not overlap" if len(study.seeds) > 1 else ""),
        f"parameters and GFLOPs with batch norm folded in, {cost.classes} classes ({RULES['counted']})",
    ]
    if results.setting:
        lines.append(f"ms: one picture from input to boxes, all rows in turns; {results.setting}")
    short = [line.row.name for line in results.lines if len(line.done) < len(study.seeds)]
    if short:
        lines.append(f"not all seeds are done of: {', '.join(short)}")
    lines += [f"failed: {failure}" for failure in results.failures]
    if len(results.versions) > 1:
        lines.append(f"trained with several versions: {'; '.join(results.versions)}")
    return [*lines, *_sources(results)]


def _sources(results: Results) -> list[str]:
    """Where the claims of the rows are from, each said once."""
    found: dict[str, list[str]] = {}
    for line in results.lines:
        if line.row.claim is not None:
            found.setdefault(f"{line.row.claim.source}; {line.row.claim.protocol}", []).append(line.row.name)
    return [f"claimed for {', '.join(names)}: {text}" for text, names in found.items()]


def _head(results: Results) -> tuple[tuple[str, ...], tuple[str, ...]]:
    texts = ("row", "group") if any(line.row.group for line in results.lines) else ("row",)
    numbers = (*results.shown, "difference", "parameters", "GFLOPs")
    if results.setting:
        numbers += ("ms",)
    if any(line.row.claim for line in results.lines):
        numbers += tuple(f"claimed {name}" for name in (*_claimed(results), "difference"))
    return texts, numbers


def _cells(results: Results, line: Line) -> list[str]:
    row, latency = line.row, line.latency
    cells = [row.name, row.group] if any(one.row.group for one in results.lines) else [row.name]
    cells += [_percent(line.scores[label]) for label in results.shown]
    cells += [
        _difference(line.differences.get(results.main)),
        f"{line.cost.parameters_fused:,}",
        f"{line.cost.gflops_fused:.2f}",
    ]
    if results.setting:
        cells.append(f"{latency.median:.1f} ({latency.low:.1f} to {latency.high:.1f})" if latency else "-")
    if any(one.row.claim for one in results.lines):
        gain = results.claimed_difference(line)
        cells += [*(_claim(line, label) for label in _claimed(results)), f"{gain:+.1f}" if gain is not None else "-"]
    return cells


def _percent(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    half = f" ± {100 * spread.half:.1f}" if spread.half is not None else ""
    return f"{100 * spread.mean:.1f}{half}"


def _difference(difference: Difference | None) -> str:
    if difference is None:
        return "-"
    mark = " *" if difference.apart else ""
    half = difference.spread.half
    return f"{100 * difference.spread.mean:+.1f}{f' ± {100 * half:.1f}' if half is not None else ''}{mark}"


def _claimed(results: Results) -> list[str]:
    """Which of the claims stand in the table; the files have all."""
    names = [name for line in results.lines if line.row.claim for name in line.row.claim.values]
    return [name for name in (results.main, "AP50") if name in names]


def _claim(line: Line, label: str) -> str:
    values = line.row.claim.values if line.row.claim else {}
    return f"{values[label]:g}" if label in values else "-"


def _changes(line: Line) -> str:
    """What a row trains differently, in words."""
    row = line.row
    said = ", ".join(f"`{key}={value}`" for key, value in row.changes.items()) or "nothing changed"
    return said + (f", on top of {row.of}" if row.of else "") + (f" ({row.note})" if row.note else "")


def _score_cells(line: Line, label: str) -> Sequence[Any]:
    score, difference = line.scores[label], line.differences.get(label)
    return (
        _short(score.mean) if score else "",
        _short(score.half) if score and score.half is not None else "",
        _short(difference.spread.mean) if difference else "",
    )


def _short(value: float) -> float:
    return float(f"{value:.6g}")


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
