"""`finespot score`: evaluate files of detections against files of truth. Needs no network and loads none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from finespot.cli import options

if TYPE_CHECKING:
    from finespot.metrics import Results, Truth

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
    fix_id0: Annotated[
        bool,
        typer.Option(
            "--fix-id0",
            help="renumber annotations from 1 (the official tools count a match with id 0 as a miss)",
            rich_help_panel=options.RUN,
        ),
    ] = False,
    split: Annotated[str, typer.Option("--split", help="split name for the report", rich_help_panel=options.OUT)] = "",
    json: options.Json = None,
    overwrite: options.OverwriteFiles = False,
) -> None:
    """Evaluate detections in files: AP and AR by size and class, as the official tools compute them."""
    from finespot.cli import reports
    from finespot.cli.terminal import console
    from finespot.metrics.reading import split_kind

    paths = [split_kind(gt)[1], split_kind(dt)[1]]
    options.check_outputs(
        json, overwrite=overwrite, inputs=[*paths, *(file for file in (images, names, corners) if file is not None)]
    )
    rules = options.protocols(protocol, max_dets, sizes)
    read = _read(gt, dt, images, names, corners, fix_id0)
    if classes is not None:
        read = read.of_classes(options.class_names(classes) or [])
    scored = [reports.Scored.of(read.truth, read.results, one) for one in rules]
    if fix_id0:
        scored = [one.made_with({"fix_id0": True}) for one in scored]
    split = split or paths[0].stem
    out = console()
    out.print(f"truth: {read.kinds['gt']}; detections: {read.kinds['dt']}", highlight=False, markup=False)
    for one in scored:
        one.show(out, split)
    if json is not None:
        options.write_report(json, {**reports.joined(scored, split), "read": read.kinds})
        out.print(f"wrote {json}")


@dataclass(frozen=True)
class _Files:
    """Truth and detections, and the formats that they were read as."""

    truth: Truth
    results: Results
    kinds: dict[str, str]

    def of_classes(self, names: list[str]) -> _Files:
        from finespot.metrics.subset import of_classes

        truth, results = of_classes(self.truth, self.results, names)
        return replace(self, truth=truth, results=results)


def _read(gt: str, dt: str, images: Path | None, names: Path | None, corners: Path | None, fix_id0: bool) -> _Files:
    """Read both; an option that neither format knows is refused."""
    from finespot.errors import FineSpotError
    from finespot.metrics.reading import find_kind, read_results, read_truth
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
    found_kind, found = find_kind(dt, "tinyperson" if corners is not None else None, truth)
    if images is not None and not knows_images and found_kind != "yolo":
        raise FineSpotError(f"has no effect on {kind} truth and {found_kind} detections", where="images")
    results = read_results(found, truth, found_kind, images=images, corners=corners)
    return _Files(truth, results, {"gt": kind, "dt": found_kind})
