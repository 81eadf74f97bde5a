"""`finespot ablate`: train variants of a model at equal budgets, with several seeds, and compare them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from finespot.cli import options

if TYPE_CHECKING:
    from finespot.studies import Plan

_STUDIES = ", ".join(
    sorted(path.stem for path in (Path(__file__).parent.parent / "recipes" / "studies").glob("*.yaml"))
)


def command(
    study: Annotated[str, typer.Argument(help=f"{_STUDIES}, or a YAML file (docs/ablate.md)")],
    data: Annotated[
        str | None,
        typer.Option("--data", help="a YOLO .yaml, or FORMAT:DIR such as coco:DIR", rich_help_panel=options.RUN),
    ] = None,
    rows: Annotated[
        str | None, typer.Option("--rows", help="only these rows, as plain,p2", rich_help_panel=options.RUN)
    ] = None,
    seeds: Annotated[
        str | None, typer.Option("--seeds", help="instead of the study's own, as 0,1,2", rich_help_panel=options.RUN)
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="of every row", rich_help_panel=options.RUN)] = None,
    imgsz: Annotated[int | None, typer.Option("--imgsz", help="input side in px", rich_help_panel=options.RUN)] = None,
    batch: Annotated[int | None, typer.Option("--batch", help="pictures a step", rich_help_panel=options.RUN)] = None,
    protocol: Annotated[
        str | None,
        typer.Option("--protocol", help="instead of the study's own: coco, ai-tod", rich_help_panel=options.RUN),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="a key of every row's recipe, as optimizer.lr=0.02", rich_help_panel=options.RUN),
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="print the plan and stop", rich_help_panel=options.RUN)] = False,
    device: Annotated[str | None, typer.Option("--device", help="auto, cpu, 0", rich_help_panel=options.SPEED)] = None,
    workers: Annotated[
        str | None, typer.Option("--workers", help="loader processes, or auto", rich_help_panel=options.SPEED)
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option("--threads", help="CPU threads when times are taken", rich_help_panel=options.SPEED),
    ] = None,
    rounds: Annotated[
        int, typer.Option("--rounds", min=1, help="turns when times are taken", rich_help_panel=options.SPEED)
    ] = 30,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="folder (default: runs/ablate/STUDY)", rich_help_panel=options.OUT),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="a line for each training only", rich_help_panel=options.OUT)
    ] = False,
    json: options.Json = None,
    overwrite: options.OverwriteFiles = False,
) -> int:
    """Train every row of a study with every seed for the same epochs; what is there already is not trained again."""
    from finespot.cli.terminal import console
    from finespot.runtimes.settings import choose_threads
    from finespot.studies import ablate, load_study, plan
    from finespot.studies.tables import terminal

    choose_threads(threads)
    options.check_outputs(json, overwrite=overwrite, inputs=[study])
    values = _values({"epochs": epochs, "imgsz": imgsz, "batch": batch, "device": device}, set_ or [], workers)
    read = load_study(study, data, seeds=_numbers(seeds), protocol=protocol, overrides=values)
    ready = plan(read, rows=_words(rows), out=out)
    screen = console()
    screen.print(_shown(ready))
    if show:
        return 0
    made = ablate(ready, quiet=quiet, rounds=rounds, threads=threads, note=screen.print)
    screen.print(terminal(made.results))
    files = list(made.files)
    if json is not None:
        files.append(options.write_report(json, made.results.to_json()))
    for path in files:
        screen.print(f"wrote {path}")
    return 1 if made.results.failures else 0


def _values(given: Mapping[str, Any], words: list[str], workers: str | None) -> dict[str, Any]:
    """Recipe keys out of options and words."""
    from finespot.errors import FineSpotError
    from finespot.training.recipe import parse_words

    own = {key: value for key, value in given.items() if value is not None}
    more = parse_words([*words, *([f"workers={workers}"] if workers is not None else [])])
    for key in sorted(own.keys() & more.keys()):
        if own[key] != more[key]:
            raise FineSpotError(f"is given twice: {own[key]} and {more[key]}", where=key)
    return {**more, **own}


def _words(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",")]


def _numbers(text: str | None) -> list[int] | None:
    from finespot.errors import FineSpotError

    words = _words(text)
    if words is not None and not all(word.isascii() and word.isdigit() for word in words):
        raise FineSpotError(f"expected whole numbers with commas but got '{text}'", where="seeds")
    return None if words is None else [int(word) for word in words]


def _shown(plan: Plan) -> Any:
    """The plan as a table: each row's changes and costs, and below it what all have in common."""
    from rich.console import Group
    from rich.text import Text

    from finespot.writers.table import ResultTable

    study = plan.study
    table = ResultTable(("row", "on top of", "changes"), ("parameters", "GFLOPs"), title=study.title)
    for row in plan.rows:
        changes = " ".join(f"{key}={value}" for key, value in row.changes.items())
        cost = plan.costs[row.name]
        table.row(row.name, row.of or "", changes, f"{cost.parameters_fused:,}", f"{cost.gflops_fused:.2f}")
    recipe, cost = study.rows[0].recipe, plan.costs[plan.rows[0].name]
    data = f"{recipe.data} ({recipe.splits.train}, scored on {recipe.splits.val})" if recipe.data else "none named yet"
    order = [f"{cell.row.name} ({cell.seed})" for cell in plan.cells]
    lines = [
        f"recipe {study.recipe}; data {data}; {recipe.epochs} epochs without early stop; {study.protocol}; "
        f"compared with '{study.baseline}'",
        f"parameters and GFLOPs with batch norm folded in, {cost.classes} classes",
        f"{len(plan.cells)} trainings, row (seed): {', '.join(order)}",
        f"folder {plan.folder}",
    ]
    return Group(table, *map(Text, lines))
