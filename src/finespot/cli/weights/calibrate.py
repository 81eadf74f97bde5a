"""`finespot weights calibrate`: choose the threshold of a seeker or a network on windows, and store it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from finespot.cli import options

if TYPE_CHECKING:
    from finespot.data import Dataset
    from finespot.structures import Tiling


def command(
    weights: Annotated[str, typer.Argument(help="a seeker, or weights of a network on windows (esod-...)")],
    out: Annotated[Path, typer.Argument(help="the weight file to write, .safetensors")],
    data: options.Data,
    split: Annotated[str, typer.Option("--split", help="what to choose by", rich_help_panel=options.RUN)] = "val",
    recall: Annotated[
        float,
        typer.Option("--recall", help="share of the objects that are to be reached", rich_help_panel=options.RUN),
    ] = 0.99,
    dense: Annotated[
        bool,
        typer.Option(
            "--dense",
            help="also time from how many windows on the whole map is quicker here, and store it",
            rich_help_panel=options.RUN,
        ),
    ] = False,
    own_parts: options.OwnParts = False,
    imgsz: options.ImageSize = None,
    slice_size: options.Slice = None,
    overlap: options.Overlap = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    precision: options.Precision = "auto",
    half: Annotated[
        bool, typer.Option("--half/--full", help="store fp16 or float32", rich_help_panel=options.OUT)
    ] = False,
    overwrite: options.OverwriteFiles = False,
) -> None:
    """Find the highest threshold with which nearly all objects are reached; write the weights with it."""
    from finespot.cli.progress import bar
    from finespot.cli.terminal import console
    from finespot.data import open_dataset
    from finespot.errors import FineSpotError
    from finespot.inference import calibrate_threshold, calibrated, find_break_even, load
    from finespot.inference.break_even import several_windows
    from finespot.inference.calibrate import largest_input
    from finespot.weights import is_seeker, save

    if out.suffix != ".safetensors":
        raise FineSpotError("expected a name that ends in .safetensors", where=out)
    options.check_outputs(out, overwrite=overwrite, inputs=[weights])
    if is_seeker(weights):
        idle: dict[str, object] = {
            "imgsz": imgsz,
            "own-parts": own_parts or None,
            "dense": dense or None,
        }
        for name, value in idle.items():
            if value is not None:
                raise FineSpotError("has no effect on a seeker", where=name)
        tiling = options.tiling(slice_size, overlap, None)
        _calibrate_seeker(weights, out, open_dataset(data, split), recall, tiling, device, threads, precision, half)
        return
    model = load(weights, threads=threads, device=device, precision=precision, own_parts=own_parts)
    dataset = open_dataset(data, split)
    tiling = options.tiling(slice_size, overlap, model.card.tiling)
    if dense:
        # Before the pass, whose threshold would be lost.
        several_windows(model.session, largest_input(model.session, dataset, imgsz=imgsz, tiling=tiling))
    screen = console()
    for note in [model.session.reason, *dataset.notes]:
        screen.print(note)
    with bar(screen, "calibrate", len(dataset)) as advance:
        found = calibrate_threshold(
            model.session,
            dataset,
            recall,
            imgsz=imgsz,
            tiling=tiling,
            progress=lambda done, total: advance(),
        )
    screen.print(
        f"threshold {found.threshold:.4g}: {100 * found.recall:.1f} % of {found.objects} objects lie in windows that "
        f"run, {100 * found.share:.1f} % of all"
    )
    choices = {"threshold": found.threshold}
    if dense:
        with bar(screen, "dense", 8) as advance:
            even = find_break_even(model.session, found.size, progress=lambda done, total: advance())
        times = ", ".join(f"{100 * share:.0f} % {ms:.1f} ms" for share, ms in even.windows_ms)
        screen.print(
            f"dense_above {even.occupancy:g}: here the whole map of {even.size[1]} x {even.size[0]} px takes "
            f"{even.whole_ms:.1f} ms behind the cut, windows {times}"
        )
        choices["dense_above"] = even.occupancy
    save(out, model.session.detector, calibrated(model.session, **choices), half=half)
    screen.print(f"wrote {out}")


def _calibrate_seeker(
    weights: str,
    out: Path,
    dataset: Dataset,
    recall: float,
    tiling: Tiling | None,
    device: str,
    threads: int | None,
    precision: str,
    half: bool,
) -> None:
    import msgspec

    from finespot.cli.progress import bar
    from finespot.cli.terminal import console
    from finespot.inference import Seeker, calibrate_seeker, reach_lines
    from finespot.inference.prepare import uncut
    from finespot.weights import read_seeker, save_seeker

    network, card = read_seeker(weights)
    seeker = Seeker(network, card, threads=threads, device=device, precision=precision)
    screen = console()
    for note in dataset.notes:
        screen.print(note)
    for note in uncut((dataset.size(number) for number in range(len(dataset))), tiling):
        screen.print(f"{note}; one hot cell reaches all that is in them, which says little of large pictures")
    with bar(screen, "calibrate", len(dataset)) as advance:
        found = calibrate_seeker(seeker, dataset, recall, tiling=tiling, progress=lambda done, total: advance())
    for line in reach_lines(found):
        screen.print(line)
    save_seeker(out, network, msgspec.structs.replace(card, calibration=found), half=half)
    screen.print(f"wrote {out}")
