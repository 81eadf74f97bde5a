"""`finespot compare`: several weights on the same pictures, side by side."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from finespot.cli import options
from finespot.cli.compare_outputs import SHEETS, TRUTH, Outputs, Truth

if TYPE_CHECKING:
    from finespot.cli.predict import Tally
    from finespot.inference import Comparison, Source
    from finespot.structures import Classes, Tiling

PROJECT = Path("runs/compare")


def command(
    weights: Annotated[list[str], typer.Argument(help="weight files, or names from `finespot models`")],
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            help="a picture, folder, 'glob' or .txt list of pictures (default: those of --data)",
            rich_help_panel=options.RUN,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data", help="a data set, whose truth is shown too: a .yaml or FORMAT:DIR", rich_help_panel=options.RUN
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="split of the data set (default: val)", rich_help_panel=options.RUN)
    ] = None,
    names: Annotated[
        str | None,
        typer.Option(
            "--names",
            help="what to call the models, comma-separated (default: after their files)",
            rich_help_panel=options.OUT,
        ),
    ] = None,
    conf: options.Conf = None,
    iou: options.Iou = None,
    nms: options.Nms = None,
    max_det: options.MaxDet = None,
    classes: Annotated[
        str | None,
        typer.Option("--classes", help="only these, by name, comma-separated", rich_help_panel=options.RUN),
    ] = None,
    own_parts: options.OwnParts = False,
    imgsz: options.ImageSize = None,
    slice_size: options.Slice = None,
    overlap: options.Overlap = None,
    whole: options.SliceWhole = None,
    merge: options.Merge = None,
    merge_metric: options.MergeMetric = None,
    batch: options.BatchSize = 1,
    device: options.Device = "auto",
    threads: options.Threads = None,
    precision: options.Precision = "auto",
    images: Annotated[
        bool,
        typer.Option("--images/--no-images", help="draw the pictures of each model too", rich_help_panel=options.OUT),
    ] = True,
    image_format: options.ImageFormat = None,
    line_width: options.LineWidth = None,
    labels: options.Labels = None,
    columns: Annotated[
        int | None,
        typer.Option("--columns", min=1, help="panels in a row of a sheet", rich_help_panel=options.OUT),
    ] = None,
    panel: Annotated[
        int | None,
        typer.Option(
            "--panel",
            min=0,
            help="longest side of a panel in pixels (default: 960); 0: as the picture",
            rich_help_panel=options.OUT,
        ),
    ] = None,
    project: options.Project = None,
    name: options.Name = "run",
    overwrite: options.Overwrite = False,
) -> None:
    """Detect with several weights in the same pictures: a sheet for each picture, a folder for each of the weights."""
    from finespot import inference
    from finespot.cli.predict import Tally, without_runs
    from finespot.cli.progress import bar
    from finespot.cli.terminal import console
    from finespot.writers import new_run

    titles = model_names(weights, names, alone=data is not None)
    extension = options.picture_format(image_format)
    wanted = None if classes is None else [word.strip() for word in classes.split(",")]
    truth = _truth(data, split, wanted)
    pictures = _pictures(source, truth)
    left_out = [f"{one} is left out: {reason}" for one, reason in pictures.left_out]
    if source is not None:
        pictures, drawn = without_runs(pictures, source, project or PROJECT)
        left_out += drawn
    if truth is not None:
        left_out += truth.missing(pictures)
    options.check_run(project or PROJECT, name, overwrite, [entry.name for entry in pictures.entries])
    sheet = {"columns": columns, "side": panel, "line_width": line_width, "labels": labels}
    # All of them before anything is done: a file that is no weight file is not to be found after an hour.
    models = {
        title: inference.load(one, threads=threads, device=device, precision=precision, own_parts=own_parts)
        for title, one in zip(titles, weights, strict=True)
    }
    own = {title: model.card.tiling for title, model in models.items()}
    tilings = tilings_of(own, slice_size, overlap, whole=whole, merge=merge, metric=merge_metric)
    companions = {"--overlap": overlap, "--slice-whole": whole, "--merge": merge, "--merge-metric": merge_metric}
    cuts = tiling_notes(tilings, [word for word, value in companions.items() if value is not None])
    lists = [model.classes for model in models.values()]
    common = inference.common_classes([*lists, *([] if truth is None else [truth.classes])])
    outputs = Outputs(titles, common, truth, extension, images, sheet)
    found = inference.compare(
        models,
        pictures,
        classes=wanted,
        conf=conf,
        iou=iou,
        nms=nms,
        max_det=max_det,
        imgsz=imgsz,
        tiling=tilings,
        batch=batch,
    )
    out = console()
    decided = {title: list(model.notes) for title, model in models.items()}
    for title, model in models.items():
        for note in [model.session.reason, *cuts.get(title, []), *model.notes]:
            out.print(f"{title}: {note}")
    for note in left_out:
        out.print(note)
    # A named picture that cannot be read ends the run here, before there is a folder.
    first = next(found, None)
    folder = new_run(project or PROJECT, name, overwrite)
    tallies = {title: Tally(model.classes) for title, model in models.items()}
    with bar(out, "compare", pictures.count) as advance:
        _write_all(found if first is None else chain([first], found), folder, outputs, tallies, advance)
    out.print(_table(tallies, common))
    for title, model in models.items():
        for note in model.notes[len(decided[title]) :]:
            out.print(f"{title}: {note}")
        out.print(f"{title}: {model.timing.summary()}")
    out.print(f"wrote {folder}")
    unreadable = {one: reason for model in models.values() for one, reason in model.skipped}
    for one in (one for one, _ in pictures.left_out):
        unreadable.pop(one, None)
    for one, reason in unreadable.items():
        out.print(f"skipped {one}: {reason}")
    if first is None:
        raise typer.Exit(2)


def model_names(weights: Sequence[str], given: str | None, alone: bool = False) -> list[str]:
    """A name for each of the weights, by which folders and panels go: `given`, comma-separated, or made of the files.

    Files of one name are told apart by a folder above them in which all differ, such as that of the run.

    Raises
    ------
    FineSpotError
        There are fewer than two weights (with a truth, `alone`: none), weights or names come twice, or a name is no
        plain folder name.
    """
    from finespot.errors import FineSpotError

    doubled = [one for place, one in enumerate(weights) if one in weights[:place]]
    if doubled:
        raise FineSpotError("these weights are given twice", where=doubled[0])
    if len(weights) < (1 if alone else 2):
        raise FineSpotError("expected weights to compare with these", where=weights[0], hint="name two, or give --data")
    if given is None:
        return _names_of(weights)
    titles = [word.strip() for word in given.split(",")]
    if len(titles) != len(weights):
        raise FineSpotError(f"expected {len(weights)} names but got {len(titles)}", where="names")
    taken = [SHEETS, TRUTH]
    for title in titles:
        if not re.fullmatch(r"[^/\\\0]{1,100}", title) or title in (".", ".."):
            raise FineSpotError(f"expected a plain folder name but got '{title}'", where="names")
        if title.casefold() in taken:
            raise FineSpotError(
                f"expected different names, none of them {SHEETS} or {TRUTH}, but got '{title}'", where="names"
            )
        taken.append(title.casefold())
    return titles


def _names_of(weights: Sequence[str]) -> list[str]:
    paths = [Path(os.path.abspath(one)) for one in weights]
    stems = [path.name.removesuffix(".safetensors") for path in paths]
    names: list[str] = []
    taken = {SHEETS, TRUTH}
    for path, stem in zip(paths, stems):
        group = [other for other, same in zip(paths, stems) if same.casefold() == stem.casefold()]
        name = stem
        if len(group) > 1:
            above = zip(*([folder.name for folder in other.parents] for other in group))
            depth = next((depth for depth, folders in enumerate(above) if len(set(folders)) == len(group)), None)
            name = stem if depth is None else f"{path.parents[depth].name}-{stem}"
        number, plain = 1, name
        while name.casefold() in taken:
            number += 1
            name = f"{plain}_{number}"
        taken.add(name.casefold())
        names.append(name)
    return names


def tilings_of(
    own: Mapping[str, Tiling | None],
    size: int | None,
    overlap: float | None,
    *,
    whole: bool | None = None,
    merge: str | None = None,
    metric: str | None = None,
) -> dict[str, Tiling | None]:
    """How each model cuts pictures, by its name (None: not at all): its `own` tiling, in which options replace what
    they name.

    Without a `size`, models of whole pictures stay with these beside one that cuts: they are compared as they are.

    Raises
    ------
    FineSpotError
        Something is asked for where no model cuts, or a value does not fit the tiling of one.
    """
    from finespot.errors import FineSpotError

    some, alike = any(map(_is_cut, own.values())), len(set(own.values())) == 1
    found: dict[str, Tiling | None] = {}
    for title, one in own.items():
        if size is None and some and not _is_cut(one):
            found[title] = one
            continue
        try:
            found[title] = options.tiling(size, overlap, one, whole=whole, merge=merge, metric=metric) or one
        except FineSpotError as error:
            # What is wrong with all is not to be sought in the file of the first.
            where = error.where if alike else f"{title}: {error.where}"
            raise FineSpotError(error.what, where=where, hint=error.hint) from error
    return found


def tiling_notes(tilings: Mapping[str, Tiling | None], companions: Sequence[str]) -> dict[str, list[str]]:
    """How each model cuts pictures, in a line, where they differ; and which of the `companions` of --slice that were
    given mean nothing to one that does not.
    """
    cut = {title: one if _is_cut(one) else None for title, one in tilings.items()}
    if len(set(cut.values())) == 1:
        return {}
    verb = "has" if len(companions) == 1 else "have"
    idle = f", on which {' and '.join(companions)} {verb} no effect" if companions else ""
    return {title: [f"whole pictures{idle}" if one is None else _all_of(one)] for title, one in cut.items()}


def _is_cut(tiling: Tiling | None) -> bool:
    return tiling is not None and tiling.size is not None


def _all_of(tiling: Tiling) -> str:
    merge = "" if tiling.merge is None else f", merged by {tiling.merge}"
    metric = "" if tiling.metric is None else f" ({tiling.metric})"
    return f"{tiling.in_words}{', the whole picture too' if tiling.whole else ''}{merge}{metric}"


def _truth(data: str | None, split: str | None, wanted: Sequence[str] | None) -> Truth | None:
    from finespot.errors import FineSpotError

    if data is None and split is not None:
        raise FineSpotError("has no effect without --data", where="split")
    return None if data is None else Truth(data, split or "val", wanted)


def _pictures(source: str | None, truth: Truth | None) -> Source:
    from finespot.errors import FineSpotError
    from finespot.inference import open_pictures

    if source is None and truth is None:
        raise FineSpotError("expected pictures but got none", where="source", hint="give --source or --data")
    return open_pictures(truth.paths if source is None and truth is not None else source)


def _write_all(
    comparisons: Iterator[Comparison],
    folder: Path,
    outputs: Outputs,
    tallies: Mapping[str, Tally],
    advance: Callable[[], None],
) -> None:
    """Write picture by picture; what was written stays when the run is interrupted."""
    with ExitStack() as stack:
        outputs.open(folder, stack)
        for comparison in comparisons:
            outputs.write(comparison)
            for title, found in comparison.found.items():
                tallies[title].add(found)
            advance()


def _table(tallies: Mapping[str, Tally], common: Classes) -> Any:
    """Objects by class, a column for each model; a class that a model does not know is a dash."""
    from finespot.writers.table import ResultTable

    table = ResultTable(("class",), tuple(tallies), box=None, pad_edge=False)
    for name in common:
        counts = []
        for tally in tallies.values():
            known = name in tally.classes.names
            counts.append(str(tally.objects[tally.classes.index(name)]) if known else "-")
        table.row(name, *counts)
    table.row("all", *(str(tally.objects.total()) for tally in tallies.values()), style="bold")
    return table
