"""`finespot predict` on a raster: which sources are one, what its options mean, and the run from file to map."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finespot.cli import options

if TYPE_CHECKING:
    from rich.console import Console

    from finespot.images import Raster, RasterView
    from finespot.inference import Model, RasterRun, Seeker, Settings
    from finespot.structures import Detections, Tiling
    from finespot.writers import GeoJsonWriter, GeoPackageWriter

_SUFFIXES = (".tif", ".tiff", ".jp2", ".j2k", ".vrt")
# Decoded, a picture of so many pixels takes 600 MB.
_TOO_LARGE = 200_000_000
_OVERVIEW = 2000
_LABELLED = 300
FORMATS = ("geojson", "gpkg")

Given = Mapping[str, Any]
# Options of pictures that say nothing on a raster, and options of rasters that say nothing on pictures.
_OF_PICTURES = (
    *("save_txt", "save_crops", "explain", "target", "method", "layers"),
    *("max_tiles", "budget_ms", "refresh", "uniform_above"),
)
_OF_RASTERS = ("bands", "stretch", "train_gsd", "raster_scale", "crs", "resume")


def raster_reason(source: str, asked: bool | None) -> str | None:
    """Why a source is read as a raster; None where it is none.

    Raises
    ------
    FineSpotError
        `asked` is true and there is no such file.
    """
    from finespot.errors import FineSpotError
    from finespot.images import is_georeferenced

    if asked is False:
        return None
    path = Path(source).expanduser()
    if asked:
        if path.is_dir():
            raise FineSpotError("expected one raster but got a folder", where=source)
        return "as asked"
    if path.suffix.lower() not in _SUFFIXES or not path.is_file():
        return None
    if path.suffix.lower() == ".vrt":
        return "it is a mosaic of files"
    if is_georeferenced(path):
        return "it has a geo-reference"
    pixels = _pixels(path)
    if pixels > _TOO_LARGE:
        return f"its {pixels / 1e6:.0f} megapixels are too many to be held at once"
    return None


def refuse(given: Given) -> None:
    """Raise `FineSpotError` where an option of rasters is given for pictures."""
    _refuse(given, _OF_RASTERS, "has no effect on pictures", "--raster reads a file by windows")


def predict(given: Given, reason: str) -> None:
    """Find objects in the raster `source` as the options `given` to the verb say; `reason` is why it is one."""
    from finespot.cli.terminal import console
    from finespot.cli.window_views import WindowViews
    from finespot.errors import FineSpotError
    from finespot.images import Raster, RasterView, stretch_of
    from finespot.inference import RasterRun, area_of, ground_scale, load

    _refuse(given, _OF_PICTURES, "has no effect on a raster", None)
    if given["view_windows"] and given["seeker"] is not None:
        raise FineSpotError("has no effect where a seeker chooses parts, whose saving is said", where="view-windows")
    if given["resume"] and given["overwrite"]:
        raise FineSpotError("has no effect on a run that goes on", where="overwrite", hint="leave out --resume")
    for option in ("line_width", "labels"):
        if given[option] is not None and not given["images"]:
            raise FineSpotError("has no effect where no picture is drawn", where=option.replace("_", "-"))
    formats, project = _formats(given), given["project"]
    options.check_run(project, given["name"], given["overwrite"], [given["source"]])
    out = console()
    with Raster(Path(given["source"]).expanduser(), _bands(given["bands"])) as raster:
        writers = _writers(raster, formats, given["crs"])
        model = load(
            given["weights"],
            threads=given["threads"],
            device=given["device"],
            precision=given["precision"],
            own_parts=given["own_parts"],
        )
        settings, notes = _settings(model, given)
        scale, scale_notes = ground_scale(raster, _resolution(given, model), given["raster_scale"])
        stretch, stretch_notes = stretch_of(raster, given["stretch"])
        view = RasterView(raster, scale, stretch)
        seeker = _seeker(model, given)
        region, region_notes = (None, []) if given["roi"] is None else area_of(given["roi"], view)
        kind = f"{raster.size[1]}x{raster.size[0]} px, {_placed(raster)}"
        out.print(model.session.reason)
        out.print(f"{given['source']} is read as a raster ({reason}): {kind}")
        for note in [*raster.notes, *scale_notes, *stretch_notes, *region_notes, *notes]:
            out.print(note)
        views = WindowViews()
        run = RasterRun(
            model.session, view, settings, most=given["max_det"], region=region, seeker=seeker, note=views.note
        )
        folder = _folder(given)
        _walk(run, folder, writers, given, out)
        for line in views.summary():
            out.print(line)


def _seeker(model: Model, given: Given) -> Seeker | None:
    from finespot.inference import load_seeker

    if given["seeker"] is None:
        return None
    return load_seeker(given["seeker"], threads=model.session.threads, device=str(model.session.device))


def _walk(
    run: RasterRun, folder: Path, writers: list[GeoJsonWriter | GeoPackageWriter], given: Given, out: Console
) -> None:
    """Run, write, draw and report; an unfinished run leaves its journal."""
    from finespot.cli.progress import bar
    from finespot.inference import JOURNAL, Journal

    resume = given["resume"]
    run.journal = Journal(folder, run.fingerprint(), resume)
    if resume:
        out.print(f"resume: {len(run.journal.rows)} of {run.rows} rows of windows are done in {folder}")
    found: list[Detections] = []
    counts: Counter[int] = Counter()
    try:
        with _opened(writers, folder), bar(out, "predict", run.windows, "windows") as run.advance:
            for some in run:
                counts.update(some.labels.tolist())
                found += [some] if given["images"] else []
                for writer in writers:
                    writer.write(some)
    except KeyboardInterrupt:
        out.print(f"interrupted; --resume goes on with {folder / JOURNAL}")
        raise
    finally:
        run.journal.close()
    paths = [writer.close() for writer in writers]
    if given["images"]:
        paths.append(_draw(run.view, found, folder, given))
    run.journal.finish()
    out.print(_table(run, counts))
    for line in [*run.summary(), *(f"wrote {path}" for path in paths)]:
        out.print(line)


@contextmanager
def _opened(writers: list[GeoJsonWriter | GeoPackageWriter], folder: Path) -> Iterator[None]:
    """Writers that are open; what an error leaves half is taken away, and what a killed run has left."""
    for writer in writers:
        for stale in folder.glob(f".{glob.escape(writer.name)}.*part*"):
            stale.unlink(missing_ok=True)
    begun = []
    try:
        for writer in writers:
            writer.open(folder)
            begun.append(writer)
        yield
    except BaseException:
        for writer in begun:
            writer.discard()
        raise


def _settings(model: Model, given: Given) -> tuple[Settings, list[str]]:
    from dataclasses import replace

    from finespot.cli.predict import chosen_classes
    from finespot.cli.window_views import choose_windows
    from finespot.errors import FineSpotError
    from finespot.inference import Settings
    from finespot.inference.pipeline import suppression_notes
    from finespot.inference.prepare import scale_notes, scaling
    from finespot.inference.windows import watch_of

    card = model.card
    choose_windows(model.session, given["windows"])
    tiling, notes = _tiling(model, given)
    if tiling.whole:
        if given["whole"]:
            raise FineSpotError("a raster is not looked at as a whole", where="slice-whole")
        tiling = replace(tiling, whole=False)
        notes.append("the raster is not looked at as a whole, as the weights would have it for pictures")
    rule, more = scaling(given["imgsz"] or card.imgsz, model.session.stride, tiling, card.fit)
    classes = given["classes"]
    settings = Settings(
        scaling=rule,
        conf=card.conf if given["conf"] is None else given["conf"],
        iou=card.iou if given["iou"] is None else given["iou"],
        nms=card.nms if given["nms"] is None else given["nms"],
        classes=None if classes is None else card.classes.labels(chosen_classes(classes, card.classes)),
        batch=given["batch"],
        watch=watch_of(model.session, given["view_windows"]),
    )
    needed = model.session.head.suppress
    asked = {"nms_asked": given["nms"] is not None, "iou_asked": given["iou"] is not None}
    return settings, [*notes, *more, *scale_notes(rule, card), *suppression_notes(settings, needed, **asked)]


def _tiling(model: Model, given: Given) -> tuple[Tiling, list[str]]:
    from finespot.structures import Tiling

    asked = {"whole": given["whole"], "merge": given["merge"], "metric": given["merge_metric"]}
    own = model.card.tiling
    found = options.tiling(given["slice_size"], given["overlap"], own, **asked) or own
    if found is not None and found.size is not None:
        return found, []
    if given["slice_size"] is not None:
        from finespot.errors import FineSpotError

        raise FineSpotError("a raster is read by windows", where="slice", hint="give their side, such as 640")
    side = given["imgsz"] or model.card.imgsz
    return Tiling(side), [f"tiles of {side} px, the size of the input; --slice chooses another"]


def _resolution(given: Given, model: Model) -> float | None:
    from finespot.errors import FineSpotError

    text = given["train_gsd"]
    if text is None:
        return None if given["raster_scale"] is not None else model.card.resolution
    if given["raster_scale"] is not None:
        raise FineSpotError("has no effect beside --raster-scale", where="train-gsd")
    if text == "off":
        return None
    try:
        return float(text)
    except ValueError:
        raise FineSpotError(f"expected meters a pixel or off but got '{text}'", where="train-gsd") from None


def _bands(text: str | None) -> list[int] | None:
    from finespot.errors import FineSpotError

    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise FineSpotError(f"expected numbers of bands, as 4,3,2, but got '{text}'", where="bands")
    return [int(part) for part in parts]


def _formats(given: Given) -> list[str]:
    from finespot.errors import FineSpotError, unknown

    words = [word.strip() for word in (given["image_format"] or FORMATS[0]).split(",")]
    for word in words:
        if word not in FORMATS:
            raise unknown("format of a raster's result", word, FORMATS, where="format")
    if given["crs"] is not None and "geojson" not in words:
        raise FineSpotError("has no effect on GeoPackage, which is in the raster's own system", where="crs")
    return list(dict.fromkeys(words))


def _writers(raster: Raster, formats: list[str], crs: str | None) -> list[GeoJsonWriter | GeoPackageWriter]:
    from finespot.writers import GeoJsonWriter, GeoPackageWriter

    name = Path(raster.path).stem
    made: list[GeoJsonWriter | GeoPackageWriter] = []
    if "geojson" in formats:
        made.append(GeoJsonWriter(name, raster.place, crs or "wgs84"))
    if "gpkg" in formats:
        made.append(GeoPackageWriter(name, raster.place))
    return made


def _folder(given: Given) -> Path:
    """A new run folder, or that of the run to resume: the last of its name that holds a journal."""
    from finespot.errors import FineSpotError
    from finespot.inference import JOURNAL
    from finespot.writers import new_run

    project, name = given["project"], given["name"]
    if not given["resume"]:
        return new_run(project, name, given["overwrite"])
    number, last = 1, None
    while (folder := project / (name if number == 1 else f"{name}{number}")).is_dir():
        last = folder if (folder / JOURNAL).is_file() else last
        number += 1
    if last is None:
        what = f"no run to resume: no folder {name}, {name}2, ... in {project} holds an unfinished one"
        raise FineSpotError(what, where="resume")
    return Path(last)


def _placed(raster: Raster) -> str:
    place = raster.place
    return "without geo-reference: coordinates are pixels" if place is None else place.name


def _pixels(path: Path) -> int:
    """How many pixels a picture has, as far as Pillow can tell."""
    from PIL import Image

    try:
        with Image.open(path) as header:
            width, height = header.size
            return int(width * height)
    except Exception:  # Pillow raises whatever comes; the road of pictures says what is wrong
        return 0


def _draw(view: RasterView, found: list[Detections], folder: Path, given: Given) -> Path:
    """`<name>.jpg`: the raster at 2,000 px at most, with boxes."""
    from dataclasses import replace

    import numpy as np

    from finespot.writers import draw, write_drawing

    raster = view.raster
    pixels = view.picture(_OVERVIEW)
    down, across = pixels.shape[0] / raster.size[0], pixels.shape[1] / raster.size[1]
    factor = np.array([across, down, across, down], np.float32)
    size = (pixels.shape[0], pixels.shape[1])
    if found:
        shown = replace(
            found[0],
            boxes=np.concatenate([one.boxes for one in found]) * factor,
            scores=np.concatenate([one.scores for one in found]),
            labels=np.concatenate([one.labels for one in found]),
            size=size,
        )
        labelled = len(shown) <= _LABELLED if given["labels"] is None else given["labels"]
        pixels = draw(pixels, shown, None, given["line_width"], labelled)
    return write_drawing(folder / f"{Path(raster.path).stem}.jpg", pixels)


def _table(run: RasterRun, counts: Counter[int]) -> Any:
    from finespot.writers.table import ResultTable

    table = ResultTable(("class",), ("objects",), box=None, pad_edge=False)
    for label, name in enumerate(run.session.classes):
        table.row(name, str(counts[label]))
    table.row("all", str(counts.total()), style="bold")
    return table


def _refuse(given: Given, names: tuple[str, ...], what: str, hint: str | None) -> None:
    from finespot.errors import FineSpotError

    for name in names:
        if given.get(name) not in (None, False):
            raise FineSpotError(what, where=name.replace("_", "-"), hint=hint)
