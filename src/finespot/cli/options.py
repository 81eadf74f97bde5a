"""Options that several verbs share, so that one name means one thing everywhere."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from finespot import metrics
    from finespot.structures import Tiling

RUN, SPEED, SLICE, OUT = "What to run", "Speed", "Large pictures", "Output"

Nms = Annotated[
    str | None,
    typer.Option(
        "--nms",
        help="suppression: greedy, cluster, diou, ios, nwd, soft, matrix or weighted, with options as in "
        "'soft(sigma=0.3)'",
        rich_help_panel=RUN,
    ),
]
Conf = Annotated[
    float | None,
    typer.Option("--conf", min=0, max=1, help="least score (default: the weights' own, 0.25)", rich_help_panel=RUN),
]
Iou = Annotated[
    float | None,
    typer.Option(
        "--iou",
        min=0,
        max=1,
        help="overlap (for --nms nwd: similarity) that removes the weaker box (default: the weights' own, 0.7)",
        rich_help_panel=RUN,
    ),
]
MaxDet = Annotated[
    int | None,
    typer.Option("--max-det", min=1, help="most detections in a picture (default: 300)", rich_help_panel=RUN),
]
Images = Annotated[bool, typer.Option("--images/--no-images", help="draw the pictures", rich_help_panel=OUT)]
ImageFormat = Annotated[
    str | None,
    typer.Option("--format", help="of all pictures that are written: jpg or png (default: jpg)", rich_help_panel=OUT),
]
LineWidth = Annotated[
    int | None,
    typer.Option(
        "--line-width", min=1, help="of drawn boxes, in pixels (default: fitted to the object)", rich_help_panel=OUT
    ),
]
Labels = Annotated[
    bool | None,
    typer.Option("--labels/--no-labels", help="write class and score (default: labels)", rich_help_panel=OUT),
]
Data = Annotated[
    str, typer.Option("--data", help="a YOLO .yaml, or FORMAT:DIR such as hit-uav:DIR or coco:DIR", rich_help_panel=RUN)
]
Protocol = Annotated[
    str,
    typer.Option(
        "--protocol",
        help="coco, visdrone, uavdt, ai-tod, tinyperson, soda-d, dota-hbb, uavvaste or variants; several with commas",
        rich_help_panel=RUN,
    ),
]
MaxDets = Annotated[
    str | None,
    typer.Option(
        "--max-dets", help="limits of detections in place of the protocol's, such as 10,100,500", rich_help_panel=RUN
    ),
]
Sizes = Annotated[
    str | None,
    typer.Option(
        "--sizes",
        help="size ranges of your own, bounds in pixels of a side: 8,16,32 gives 0-8, 8-16, 16-32 and 32+",
        rich_help_panel=RUN,
    ),
]
ImageSize = Annotated[
    int | None,
    typer.Option(
        "--imgsz", help="long side of the network input in pixels (default: the weights' own)", rich_help_panel=RUN
    ),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, 0, ...", rich_help_panel=SPEED)]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        help="CPU threads (default: one a core of this process, at most OMP_NUM_THREADS)",
        rich_help_panel=SPEED,
    ),
]
Precision = Annotated[str, typer.Option("--precision", help="auto, fp32, fp16 or bf16", rich_help_panel=SPEED)]
BatchSize = Annotated[int, typer.Option("--batch", help="pictures or tiles in one pass", rich_help_panel=SPEED)]
Slice = Annotated[
    int | None,
    typer.Option(
        "--slice", min=0, help="cut pictures into square tiles of this many pixels; 0: whole", rich_help_panel=SLICE
    ),
]
Overlap = Annotated[
    float | None,
    typer.Option(
        "--slice-overlap",
        "--overlap",
        help="what neighboring tiles share: below 1 of the side, else pixels (default: 0.2)",
        rich_help_panel=SLICE,
    ),
]
SliceWhole = Annotated[
    bool | None,
    typer.Option(
        "--slice-whole/--no-slice-whole",
        help="look at the whole picture too, scaled, for objects larger than the overlap",
        rich_help_panel=SLICE,
    ),
]
Merge = Annotated[
    str | None,
    typer.Option(
        "--merge",
        help="how tiles are merged: greedy, nmm, soft, weighted, ..., with options as in 'nmm(agnostic=true)' "
        "(default: as --nms)",
        rich_help_panel=SLICE,
    ),
]
MergeMetric = Annotated[
    str | None,
    typer.Option(
        "--merge-metric", help="what --merge compares boxes by: iou or ios (default: iou)", rich_help_panel=SLICE
    ),
]
Rule = Annotated[str, typer.Option("--rule", help="how operations are counted: counted, thop", rich_help_panel=RUN)]
OwnParts = Annotated[
    bool,
    typer.Option(
        "--own-parts",
        help="import the code of your own that the weight file names, which runs it",
        rich_help_panel=RUN,
    ),
]
Project = Annotated[Path | None, typer.Option("--project", help="folder of runs", rich_help_panel=OUT)]
Name = Annotated[str, typer.Option("--name", help="run folder; a number is added when it exists", rich_help_panel=OUT)]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="write into the folder NAME and over files that exist", rich_help_panel=OUT),
]
OverwriteFiles = Annotated[bool, typer.Option("--overwrite", help="write over a file that exists", rich_help_panel=OUT)]
Json = Annotated[Path | None, typer.Option("--json", help="write the numbers to this file", rich_help_panel=OUT)]


# Of drawn pictures; the first where nothing is said.
FORMATS = ("jpg", "png")


def picture_format(asked: str | None) -> str:
    """The format of drawn pictures that `--format` asks for.

    Raises
    ------
    FineSpotError
        It is unknown.
    """
    from finespot.errors import unknown

    if asked is not None and asked not in FORMATS:
        raise unknown("picture format", asked, FORMATS, where="format")
    return asked or FORMATS[0]


def tiling(
    size: int | None,
    overlap: float | None,
    own: Tiling | None,
    *,
    whole: bool | None = None,
    merge: str | None = None,
    metric: str | None = None,
) -> Tiling | None:
    """The tiling that `--slice` and its companions ask for, beside the weights' `own`; None leaves it to the weights.

    Raises
    ------
    FineSpotError
        Something is asked for where nothing is cut, or a value is out of range.
    """
    from finespot.errors import FineSpotError
    from finespot.structures import Tiling

    more = {"overlap": overlap, "slice-whole": whole, "merge": merge, "merge-metric": metric}
    asked = [name for name, value in more.items() if value is not None]
    if size is None and not asked:
        return None
    side = (own.size if own is not None else None) if size is None else (size or None)
    if side is None and asked:
        raise FineSpotError("has no effect on whole pictures", where=asked[0], hint="give --slice too")
    if side is None:
        return Tiling(None)
    base = own if own is not None and own.size is not None else Tiling(side)
    return Tiling(
        side,
        base.overlap if overlap is None else overlap,
        base.whole if whole is None else whole,
        base.merge if merge is None else merge,
        # A metric belongs to its operator.
        base.metric if merge is None and metric is None else metric,
    )


def input_size(text: str | None, own: int, stride: int) -> tuple[int, int]:
    """(height, width) of `640` or `480x640`; a square of side `own` where nothing is given.

    Raises
    ------
    FineSpotError
        The text is something else, or a side is no multiple of `stride`.
    """
    from finespot.errors import FineSpotError

    parts = [str(own)] if text is None else text.lower().split("x")
    if len(parts) > 2 or not all(part.isascii() and part.isdigit() and 0 < int(part) <= 16384 for part in parts):
        raise FineSpotError(f"expected a side or HEIGHTxWIDTH in pixels but got '{text}'", where="imgsz")
    height, width = int(parts[0]), int(parts[-1])
    if height % stride or width % stride:
        raise FineSpotError(f"expected multiples of {stride} but got {height} x {width}", where="imgsz")
    return height, width


def architecture_options(words: Iterable[str]) -> dict[str, Any]:
    """Words `key=value` as options of an architecture: numbers, true, false, none, lists; everything else is text.

    Raises
    ------
    FineSpotError
        A word is none of this form.
    """
    import yaml

    from finespot.errors import FineSpotError

    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise FineSpotError(f"expected key=value but got '{word}'", where="set")
        try:
            # Recipes read "none" as nothing too.
            found[key.removeprefix("options.")] = None if value in ("none", "None") else yaml.safe_load(value)
        except yaml.YAMLError:
            found[key.removeprefix("options.")] = value
    return found


def protocols(text: str, max_dets: str | None = None, sizes: str | None = None) -> list[metrics.Protocol]:
    """The protocols that `--protocol`, `--max-dets` and `--sizes` ask for.

    Raises
    ------
    FineSpotError
        A name is unknown or stands there twice, or a number is none.
    """
    from finespot import metrics
    from finespot.errors import FineSpotError

    names = [name.strip() for name in text.split(",")]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise FineSpotError(f"expected different protocols but got {doubled} twice", where="protocol")
    found = [metrics.protocol(name) for name in names]
    if max_dets is not None:
        limits = [int(limit) for limit in _numbers(max_dets, "max-dets", whole=True)]
        found = [one.with_max_dets(limits) for one in found]
    if sizes is not None:
        sides = _numbers(sizes, "sizes", whole=False)
        found = [one.with_sizes(sides) for one in found]
    return found


def bounds(text: str) -> list[float]:
    """The rising sides that `--sizes` names."""
    return sorted(_numbers(text, "sizes", whole=False))


def _numbers(text: str, name: str, *, whole: bool) -> list[float]:
    """Numbers above 0 that differ, out of `10,100,500`."""
    from finespot.errors import FineSpotError

    what = "whole numbers" if whole else "numbers"
    try:
        values = [float(int(part)) if whole else float(part) for part in text.split(",")]
    except ValueError:
        raise FineSpotError(f"expected {what} with commas between but got '{text}'", where=name) from None
    if len(set(values)) < len(values) or not all(0 < value < 1e9 for value in values):
        raise FineSpotError(f"expected different {what} above 0 but got '{text}'", where=name)
    return values


def class_names(text: str | None) -> list[str] | None:
    """Class names out of `a,b,c`, or of a file with one name a line."""
    if text is None:
        return None
    path = Path(text)
    if "," not in text and path.is_file():
        from finespot.errors import FineSpotError

        try:
            return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise FineSpotError(f"cannot be read as text ({error})", where=path) from error
    return [name.strip() for name in text.split(",")]


def check_outputs(*files: Path | None, overwrite: bool, inputs: Iterable[str | Path] = ()) -> None:
    """Refuse, before the work whose results they hold, files that must not or cannot be written.

    A file that exists is kept without `overwrite`; one that the command reads (`inputs`, of a folder all in it) is
    kept in any case. What is no regular file, such as /dev/stdout, holds nothing to keep.

    Raises
    ------
    FineSpotError
        One of the files is kept, is named twice or is a folder, or its folder cannot be made or written.
    """
    from finespot.errors import FineSpotError
    from finespot.writers import check_folder, regular_file

    some = any(os.path.exists(one) for one in files if one is not None)
    read = set(map(_identity, inputs)) - {None} if some else set()
    written: set[Path] = set()
    for file in filter(None, files):
        target = regular_file(file)
        if target is None:
            continue
        target = Path(os.path.abspath(target))
        there = os.path.exists(target)
        if there and read.intersection(map(_identity, (target, *target.parents))):
            raise FineSpotError("is input of this command and is not written over", where=file)
        if target in written:
            raise FineSpotError("expected a file of its own for each output but got it twice", where=file)
        if os.path.isdir(target):
            raise FineSpotError("expected a file but got a folder", where=file)
        if there and not overwrite:
            raise FineSpotError("there is such a file already", where=file, hint="--overwrite replaces it")
        check_folder(target.parent)
        written.add(target)


def check_run(project: Path, name: str, overwrite: bool, inputs: Iterable[str | Path]) -> None:
    """Refuse, before the work, a run folder that cannot be made, or one to overwrite that holds some of `inputs`.

    A link counts for where it lies and for where it leads: writing to it replaces the file behind it.

    Raises
    ------
    FineSpotError
        As `finespot.writers.check_run`; or a file that the command reads lies in the folder or below it.
    """
    from finespot import writers
    from finespot.errors import FineSpotError

    writers.check_run(project, name, overwrite)
    folder = project / name
    if not overwrite or not folder.exists():
        return
    holders: dict[Path, str | Path] = {}
    for file in inputs:
        for form in (os.path.abspath(file), os.path.realpath(file)):
            holders.setdefault(Path(form).parent, file)
    for holder, file in holders.items():
        if any(_identity(one) == _identity(folder) for one in (holder, *holder.parents)):
            raise FineSpotError(
                f"holds input of this command ({os.path.basename(file)}) and is not written over",
                where=folder,
                hint="give another --name",
            )


def _identity(path: str | Path) -> tuple[int, int] | None:
    """What two names of one file have in common; None for a file that does not exist."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def write_report(path: Path, report: dict[str, Any]) -> Path:
    """Write numbers as readable JSON, or leave the old file as it was."""
    import json

    from finespot.writers import write_atomic

    return write_atomic(path, json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
