"""`finespot score`: evaluate files of detections against files of truth. Needs no network and loads none."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from finespot.cli import analysis, options

if TYPE_CHECKING:
    from finespot.metrics import Results, Truth
    from finespot.metrics.page import PictureOf
    from finespot.structures import Image

FORMATS = "coco:, visdrone:, uavdt:, dota:, yolo: or tinyperson: in front says what it is"


def command(
    gt: Annotated[
        str,
        typer.Option(
            "--gt", help=f"truth: a COCO file or a folder of text files; {FORMATS}", rich_help_panel=options.RUN
        ),
    ],
    dt: Annotated[
        str, typer.Option("--dt", help="detections, in the same or in another format", rich_help_panel=options.RUN)
    ],
    protocol: options.Protocol = "coco",
    max_dets: options.MaxDets = None,
    sizes: options.Sizes = None,
    classes: Annotated[
        str | None,
        typer.Option(
            "--classes", help="evaluate only these: car,van, or a file with a name a line", rich_help_panel=options.RUN
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            help="for their sizes: a folder of pictures or a JSON file of name to width, height; DOTA: a list of names",
            rich_help_panel=options.RUN,
        ),
    ] = None,
    names: Annotated[
        Path | None,
        typer.Option(
            "--names",
            help="class names for YOLO and DOTA: a data.yaml, or a file with a name a line",
            rich_help_panel=options.RUN,
        ),
    ] = None,
    corners: Annotated[
        Path | None,
        typer.Option(
            "--corners",
            help="TinyPerson's corner file: the detections are those of its windows and are joined",
            rich_help_panel=options.RUN,
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            help="other detections of the same truth: is --dt better than these, and where",
            rich_help_panel=analysis.PANEL,
        ),
    ] = None,
    errors: analysis.Errors = False,
    thresholds: analysis.Thresholds = False,
    bootstrap: analysis.Intervals = None,
    plots: Annotated[
        Path | None,
        typer.Option("--plots", help="draw curves and errors into this folder", rich_help_panel=analysis.PANEL),
    ] = None,
    html: analysis.Page = None,
    fix_id0: Annotated[
        bool,
        typer.Option(
            "--fix-id0",
            help="renumber annotations from 1 (the official tools count a match with id 0 as a miss)",
            rich_help_panel=options.RUN,
        ),
    ] = False,
    drop_unknown: Annotated[
        bool,
        typer.Option(
            "--drop-unknown",
            help="leave out COCO detections of classes that the truth does not have, instead of refusing them",
            rich_help_panel=options.RUN,
        ),
    ] = False,
    split: Annotated[str, typer.Option("--split", help="split name for the report", rich_help_panel=options.OUT)] = "",
    json: options.Json = None,
    overwrite: options.OverwriteFiles = False,
) -> None:
    """Evaluate detections in files: AP and AR by size and class, as the official tools compute them."""
    from finespot.cli import reports
    from finespot.cli.analysis import Analysis, Wanted, limit_of, plot_files, sizes_of
    from finespot.cli.terminal import console
    from finespot.errors import FineSpotError
    from finespot.metrics.reading import split_kind

    paths = [split_kind(one)[1] for one in (gt, dt, against) if one is not None]
    inputs = [*paths, *(file for file in (images, names, corners) if file is not None)]
    options.check_outputs(json, html, *plot_files(plots), overwrite=overwrite, inputs=inputs)
    if against is not None and os.path.realpath(paths[1]) == os.path.realpath(paths[2]):
        raise FineSpotError("is the file of --dt itself", where=paths[2], hint="name other detections")
    rules = options.protocols(protocol, max_dets, sizes)
    read = _read(gt, dt, images, names, corners, fix_id0, drop_unknown, show=html is not None)
    other = None if against is None else _found(against, read.truth, images, corners, drop_unknown)[0]
    if classes is not None:
        read, other = read.of_classes(options.class_names(classes) or [], other)
    scored = [reports.Scored.of(read.truth, read.results, one) for one in rules]
    if fix_id0:
        scored = [one.made_with({"fix_id0": True}) for one in scored]
    split = split or paths[0].stem
    picture = _pictures(images, read.truth) if html is not None else None
    if bootstrap is not None and len(read.truth.image_ids) < 2:
        raise FineSpotError("expected two pictures or more to draw from", where="bootstrap")
    out = console()
    out.print(f"truth: {read.kinds['gt']}; detections: {read.kinds['dt']}", highlight=False, markup=False)
    for one in scored:
        one.show(out, split)
    analysed = Analysis(
        read.truth,
        read.results,
        [*(one.official for one in scored), *(one.clean for one in scored if one.clean is not None)],
        split,
        against=other,
        names=_names(against, dt),
        picture=picture,
    )
    found, written = analysed.tell(
        Wanted(errors, thresholds, bootstrap, sizes_of(sizes), plots, html, limit_of(max_dets, rules)), out
    )
    for path in written:
        out.print(f"wrote {path}")
    if json is not None:
        options.write_report(json, {**reports.joined(scored, split), **found, "read": read.kinds})
        out.print(f"wrote {json}")


@dataclass(frozen=True)
class _Files:
    """Truth and detections, and the formats that they were read as."""

    truth: Truth
    results: Results
    kinds: dict[str, str]

    def of_classes(self, names: list[str], other: Results | None) -> tuple[_Files, Results | None]:
        """These and other results of the same truth, with some of the classes."""
        from finespot.metrics.subset import of_classes

        truth, results = of_classes(self.truth, self.results, names)
        also = None if other is None else of_classes(self.truth, other, names)[1]
        return replace(self, truth=truth, results=results), also


def _read(
    gt: str,
    dt: str,
    images: Path | None,
    names: Path | None,
    corners: Path | None,
    fix_id0: bool,
    drop_unknown: bool,
    *,
    show: bool,
) -> _Files:
    """Read both; an option that neither format knows is refused. `show`: pictures are wanted for themselves."""
    from finespot.errors import FineSpotError
    from finespot.metrics.reading import find_kind, read_truth
    from finespot.metrics.reading.yolo import read_names

    kind, place = find_kind(gt)
    knows_images = kind in ("visdrone", "yolo", "dota")
    truth = read_truth(
        place,
        kind,
        images=images if knows_images else None,
        names=None if names is None else read_names(names),
        fix_id0=fix_id0,
    )
    results, found_kind = _found(dt, truth, images, corners, drop_unknown)
    if images is not None and not (knows_images or show or found_kind == "yolo"):
        raise FineSpotError(f"has no effect on {kind} truth and {found_kind} detections", where="images")
    return _Files(truth, results, {"gt": kind, "dt": found_kind})


def _found(dt: str, truth: Truth, images: Path | None, corners: Path | None, drop_unknown: bool) -> tuple[Results, str]:
    """Detections and the format that they were read as."""
    from finespot.metrics.reading import find_kind, read_results

    kind, place = find_kind(dt, "tinyperson" if corners is not None else None, truth)
    sizes = images if kind == "yolo" else None
    return read_results(place, truth, kind, images=sizes, corners=corners, drop_unknown=drop_unknown), kind


def _names(against: str | None, dt: str) -> tuple[str, str]:
    """What two files of detections are called: by their names, or by their paths where these are the same."""
    if against is None:
        return "A", "B"
    first, second = Path(against), Path(dt)
    return (str(first), str(second)) if first.stem == second.stem else (first.stem, second.stem)


def _pictures(images: Path | None, truth: Truth) -> PictureOf | None:
    """The picture at each position of the truth, where a folder with pictures is known."""
    from finespot.errors import FineSpotError

    if images is None or (images.is_file() and images.suffix.lower() in (".json", ".txt")):
        return None
    if not images.is_dir():
        raise FineSpotError("expected a folder with pictures but there is none", where=images)
    from finespot.images import open_image
    from finespot.metrics.reading.pictures import picture_files

    files = picture_files(images)
    if not files:
        raise FineSpotError("expected pictures but there are none", where=images)
    stems = truth.stems or [str(key) for key in truth.image_ids]

    def picture(index: int) -> Image:
        if stems[index] not in files:
            raise FineSpotError(f"there is no picture '{stems[index]}'", where=images)
        return open_image(files[stems[index]])

    return picture
