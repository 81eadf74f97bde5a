"""`finespot val`: evaluate weights on a labelled data set, through the same pipeline as prediction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from finespot.cli import analysis, options, tile_choice
from finespot.cli.window_views import Choices

if TYPE_CHECKING:
    from rich.console import Console

    from finespot.data import Dataset
    from finespot.inference import TileCosts, Validation
    from finespot.metrics import Coverage
    from finespot.structures import Tiling

PROJECT = Path("runs/val")


def command(
    weights: Annotated[str, typer.Argument(help="a weight file, or a name from `finespot models`")],
    data: options.Data,
    split: Annotated[str, typer.Option("--split", help="split of the data set", rich_help_panel=options.RUN)] = "val",
    protocol: options.Protocol = "coco",
    max_dets: options.MaxDets = None,
    sizes: options.Sizes = None,
    conf: Annotated[
        float, typer.Option("--conf", min=0, max=1, help="least score", rich_help_panel=options.RUN)
    ] = 0.001,
    iou: Annotated[
        float,
        typer.Option(
            "--iou",
            min=0,
            max=1,
            help="overlap (for --nms nwd: similarity) that removes a box",
            rich_help_panel=options.RUN,
        ),
    ] = 0.7,
    nms: options.Nms = None,
    max_det: Annotated[
        int | None,
        typer.Option(
            "--max-det",
            min=1,
            help="most detections in a picture (default: the protocol's, 300 or more)",
            rich_help_panel=options.RUN,
        ),
    ] = None,
    own_parts: options.OwnParts = False,
    imgsz: options.ImageSize = None,
    slice_size: options.Slice = None,
    overlap: options.Overlap = None,
    whole: options.SliceWhole = None,
    merge: options.Merge = None,
    merge_metric: options.MergeMetric = None,
    seeker: tile_choice.Seeker = None,
    max_tiles: tile_choice.MaxTiles = None,
    budget_ms: tile_choice.BudgetMs = None,
    roi: tile_choice.Roi = None,
    uniform_above: tile_choice.UniformAbove = None,
    windows: Choices = None,
    batch: options.BatchSize = 8,
    device: options.Device = "auto",
    threads: options.Threads = None,
    precision: options.Precision = "auto",
    plots: Annotated[
        bool,
        typer.Option("--plots/--no-plots", help="curves, confusion matrix, pictures", rich_help_panel=options.OUT),
    ] = True,
    errors: analysis.Errors = False,
    thresholds: analysis.Thresholds = False,
    bootstrap: analysis.Intervals = None,
    sweep: Annotated[
        bool,
        typer.Option(
            "--merge-sweep", help="AP for each way to merge tiles, from one more pass", rich_help_panel=analysis.PANEL
        ),
    ] = False,
    coverage: Annotated[
        bool,
        typer.Option(
            "--coverage",
            help="what the tiles show of the objects and how much they cost",
            rich_help_panel=analysis.PANEL,
        ),
    ] = False,
    html: analysis.Page = None,
    json: options.Json = None,
    save_json: Annotated[
        Path | None, typer.Option("--save-json", help="write COCO results to this file", rich_help_panel=options.OUT)
    ] = None,
    project: options.Project = None,
    name: options.Name = "run",
    overwrite: options.Overwrite = False,
) -> None:
    """Evaluate weights on a data set: AP and AR by size and class, with curves and pictures beside the truth."""
    from finespot.cli import reports
    from finespot.cli.analysis import Analysis, Wanted, limit_of, sizes_of
    from finespot.cli.progress import bar
    from finespot.cli.terminal import console
    from finespot.cli.window_views import choose_windows
    from finespot.data import open_dataset
    from finespot.inference import TileCosts, merge_sweep, validate
    from finespot.runtimes import Session
    from finespot.training.choice import recipe_beside
    from finespot.training.claim import Scored, beside
    from finespot.writers import new_run
    from finespot.zoo import WindowedDetector

    out = console()
    rules = options.protocols(protocol, max_dets, sizes)
    session = Session(weights, own_parts=own_parts, threads=threads, device=device, precision=precision)
    choose_windows(session, windows, labelled=True)
    dataset = open_dataset(data, split)
    truth = _truth(data, dataset)
    options.check_run(project or PROJECT, name, overwrite, truth)
    options.check_outputs(json, save_json, html, overwrite=overwrite, inputs=[weights, *truth])
    tiling = options.tiling(slice_size, overlap, session.card.tiling, whole=whole, merge=merge, metric=merge_metric)
    limits = {"seeker": seeker, "max-tiles": max_tiles, "budget-ms": budget_ms, "roi": roi}
    limits |= {"uniform-above": uniform_above}
    given = [name for name, value in limits.items() if value is not None]
    _check(dataset, bootstrap, sweep, tiling or session.card.tiling, given)
    out.print(session.reason)
    with bar(out, "val", len(dataset)) as advance:
        validation = validate(
            session,
            dataset,
            protocol=rules,
            imgsz=imgsz,
            batch=batch,
            conf=conf,
            iou=iou,
            nms=nms,
            max_det=max_det,
            tiling=tiling,
            watch=coverage and isinstance(session.network, WindowedDetector),
            seeker=seeker,
            max_tiles=max_tiles,
            budget_ms=budget_ms,
            roi=roi,
            uniform_above=uniform_above,
            progress=lambda done, total: advance(),
        )
    for note in validation.notes:
        out.print(note)
    scored = [reports.Scored.beside(one, *tables) for one, tables in zip(validation.reports, validation.tables)]
    for one in scored:
        one.show(out, split)
    recipe = recipe_beside(weights)
    if recipe is not None and recipe.claimed is not None:
        side = session.card.imgsz if imgsz is None else imgsz
        ours = Scored(data, split, rules[0].name, recipe.model, side, recipe.epochs, f"weights {Path(weights).name}")
        out.print(beside(recipe.claimed, ours, validation.report.values))
    out.print(validation.timing.summary())
    skipping = validation.skipping
    for line in [] if skipping is None else skipping.lines():
        out.print(line)
    folder = new_run(project or PROJECT, name, overwrite)
    told = [*validation.reports, *(one.clean for one in scored if one.clean is not None)]
    analysed = Analysis(validation.truth, validation.results, told, split, picture=dataset.image)
    wanted = Wanted(
        *(errors, thresholds, bootstrap, sizes_of(sizes), folder if plots else None, html), limit_of(max_dets, rules)
    )
    found, drawn = analysed.tell(wanted, out)
    if sweep:
        with bar(out, "sweep", len(dataset)) as advance:
            swept = merge_sweep(
                session,
                dataset,
                protocol=rules[0],
                imgsz=imgsz,
                tiling=tiling,
                batch=batch,
                conf=conf,
                max_det=max_det,
                progress=lambda done, total: advance(),
            )
        out.print("\nmerge sweep", style="bold", highlight=False, markup=False)
        out.print(swept.table())
        found["merge_sweep"] = swept.to_json()
    if coverage:
        costs = partial(TileCosts.known, session, imgsz, tiling, seeker)
        found |= _tell_coverage(out, validation, dataset, tiling, costs)
    if skipping is not None:
        found["skipping"] = skipping.to_json()
    report = {**reports.joined(scored, split), **found}
    written = [options.write_report(folder / "report.json", report), *drawn]
    if json is not None:
        written.append(options.write_report(json, report))
    if save_json is not None:
        written.append(validation.to_coco(save_json))
    if plots:
        written += _draw(dataset, validation, folder, session.card.conf, coverage)
    for path in written:
        out.print(f"wrote {path}")


def _check(dataset: Dataset, bootstrap: int | None, sweep: bool, tiling: Tiling | None, limits: Sequence[str]) -> None:
    """Refuse, before the pass, what could not be told after it; `limits` are the options that leave out tiles."""
    from finespot.errors import FineSpotError

    if bootstrap is not None and len(dataset) < 2:
        raise FineSpotError("expected two pictures or more to draw from but got one", where="bootstrap")
    if sweep and (tiling is None or tiling.size is None):
        raise FineSpotError("merges tiles, but nothing is cut", where="merge-sweep", hint="give --slice")
    if sweep and limits:
        raise FineSpotError(f"merges all tiles, so --{limits[0]} has no effect", where="merge-sweep")


def _draw(dataset: Dataset, validation: Validation, folder: Path, conf: float, looks: bool) -> list[Path]:
    """Pictures with what was found, and where a seeker looked; the folders of those that there are."""
    from finespot.inference import draw_looks, draw_predictions

    draw_predictions(dataset, validation.detections, folder / "predictions", conf)
    drawn = draw_looks(dataset, validation, folder / "looks", conf) if looks else []
    return [folder / "predictions", *([folder / "looks"] if drawn else [])]


def _tell_coverage(
    out: Console, validation: Validation, dataset: Dataset, tiling: Tiling | None, costs: Callable[[], TileCosts | None]
) -> dict[str, Any]:
    """Print what was looked at shows of the objects and, where windows or tiles were chosen, what that saved."""
    import numpy as np

    from finespot.inference import TileView

    covered = validation.coverage() if validation.views else _coverage(validation, dataset, tiling)
    out.print("\ncoverage", style="bold", highlight=False, markup=False)
    out.print(covered.table())
    found: dict[str, Any] = {"coverage": covered.to_json()}
    heat = validation.heat_quality()
    if heat is not None:
        out.print("\nheat of the seeker", style="bold", highlight=False, markup=False)
        out.print(heat.table())
        found["heat"] = heat.to_json()
    if validation.skipping is not None:
        tiles = [one for one in validation.views if isinstance(one, TileView)]
        counted = costs() if tiles else None
        if counted is not None:
            spent, saved = np.sum([counted.of(one) for one in tiles], 0).tolist()
            out.print(counted.line(spent, saved, len(tiles)))
            found["savings"] = {"gflops": spent / len(tiles), "saved": saved / len(tiles)}
        sizes = [(one.label, one.bpr_center) for one in covered.sizes if one.bpr_center is not None]
        lost = [f"{label} {100 * (1 - reached):.1f} %" for label, reached in sizes]
        out.print(f"lost, their centers in no tile, by side in pixels: {', '.join(lost) or 'there is no object'}")
    elif validation.views:
        from finespot.cli.window_views import WindowViews
        from finespot.inference import WindowView

        seen = WindowViews()
        for view in validation.views:
            if isinstance(view, WindowView):
                seen.note(view)
        for line in seen.summary():
            out.print(line)
        found["savings"] = {**seen.means(), "ms": seen.times()}
    return found


def _coverage(validation: Validation, dataset: Dataset, tiling: Tiling | None) -> Coverage:
    """What the windows of a tiling show of the objects that the protocol counts."""
    import numpy as np

    from finespot import metrics
    from finespot.metrics.subset import by_rules
    from finespot.tiling import windows

    sizes = [dataset.size(i) for i in range(len(dataset))]
    shown = [np.array([tile.window for tile in windows(size, tiling)], np.float64) for size in sizes]
    truth, _ = by_rules(validation.truth, validation.results, validation.report.protocol)
    return metrics.coverage(truth, shown, sizes=np.array(sizes))


def _truth(data: str, dataset: Dataset) -> list[str | Path]:
    """The files that a data set is read from: labels (all in its folder; the files that a YAML names), pictures."""
    from finespot.data.dataset import find_format
    from finespot.data.formats.data_yaml import read_data_yaml
    from finespot.data.formats.yolo_text import label_path

    place = find_format(data)[1]
    named = []
    if place.is_file() and place.suffix.lower() in (".yaml", ".yml"):
        read = read_data_yaml(place)
        named = [read.root / one for one in read.value(dataset.split)]
    pictures = [dataset.path(i) for i in range(len(dataset))]
    return [place, *named, *pictures, *map(label_path, pictures)]
