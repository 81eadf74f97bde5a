"""`finespot info`: what one network is and costs, part by part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from finespot.cli import options

if TYPE_CHECKING:
    from pathlib import Path

    from finespot.weights import Card
    from finespot.zoo import Cost, Detector


SHOWN_LAYERS = 15


def command(
    model: Annotated[str, typer.Argument(help="an architecture or weights from `finespot models`, or a weight file")],
    imgsz: Annotated[
        str | None,
        typer.Option(
            "--imgsz",
            help="input side in pixels, or HEIGHTxWIDTH (default: the weights' own, else 640)",
            rich_help_panel=options.RUN,
        ),
    ] = None,
    classes: Annotated[
        int | None,
        typer.Option("--classes", min=1, help="class count of an architecture (80)", rich_help_panel=options.RUN),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="an option of the architecture, as neck=NAME", rich_help_panel=options.RUN),
    ] = None,
    own_parts: options.OwnParts = False,
    rule: options.Rule = "counted",
    profile: Annotated[
        int,
        typer.Option("--profile", min=0, help="time parts and layers over so many runs", rich_help_panel=options.SPEED),
    ] = 0,
    device: options.Device = "auto",
    threads: options.Threads = None,
    json: options.Json = None,
    overwrite: options.OverwriteFiles = False,
) -> None:
    """Parameters, operations, memory and (with --profile) time of a network, in all and part by part."""
    from finespot import zoo
    from finespot.cli.terminal import console
    from finespot.weights import is_seeker

    options.check_outputs(json, overwrite=overwrite, inputs=[model])
    if not zoo.is_name(model) and is_seeker(model):
        given = {"imgsz": imgsz, "classes": classes, "set": set_, "profile": profile or None}
        _tell_seeker(model, given, json)
        return
    detector, card = _open(model, classes, set_ or [], own_parts, "cpu" if profile else "meta")
    side = card.imgsz if card is not None else 640
    size = options.input_size(imgsz, side, detector.stride)
    out = console()
    if profile:
        cost, reason = _timed(detector, size, rule, profile, device, threads)
        out.print(reason)
    else:
        cost = zoo.measure(detector, size, rule)
    assert detector.architecture is not None
    name = zoo.name_of(detector.architecture)
    out.print(_stages(cost, f"{name}, {detector.architecture.classes} classes, {size[1]}x{size[0]} px"))
    if cost.layers:
        out.print(_layers(cost))
    for line in _summary(cost, card):
        out.print(line)
    if json is not None:
        options.write_report(json, report(name, cost))
        out.print(f"wrote {json}")


def report(name: str, cost: Cost) -> dict[str, Any]:
    """The figures of a network as plain values."""
    from finespot.zoo import RULES

    return {
        "name": name,
        "size": list(cost.size),
        "parameters": cost.parameters,
        "parameters_fused": cost.parameters_fused,
        "gflops": cost.gflops,
        "gflops_fused": cost.gflops_fused,
        "rule": f"{cost.rule}: {RULES[cost.rule]}",
        "inference_mib": cost.inference_mib,
        "training_mib": cost.training_mib,
        "stages": [
            {
                "name": one.name,
                "parameters": one.parameters,
                "gflops": one.gflops,
                "output_mib": one.output_mib,
                "seconds": one.seconds,
            }
            for one in cost.stages
        ],
        "layers": [{"name": one.name, "kind": one.kind, "seconds": one.seconds} for one in cost.layers],
    }


def _open(
    model: str, classes: int | None, words: list[str], own_parts: bool, device: str
) -> tuple[Detector, Card | None]:
    """The network (an architecture's on `device`), and the card of weights."""
    import torch

    from finespot import weights, zoo
    from finespot.errors import FineSpotError

    if zoo.is_name(model):
        with torch.device(device):
            return zoo.build(zoo.architecture(model, classes or 80, **options.architecture_options(words))), None
    if classes is not None or words:
        given = "--classes" if classes is not None else "--set"
        raise FineSpotError(f"{given} belongs to an architecture, and this is a weight file", where=model)
    return weights.load(model, own_parts=own_parts)


def _tell_seeker(model: str, given: dict[str, Any], json: Path | None) -> None:
    from finespot.cli import seeker_info
    from finespot.cli.terminal import console
    from finespot.errors import FineSpotError

    for name, value in given.items():
        if value is not None:
            raise FineSpotError("has no effect on a seeker", where=name)
    out = console()
    for line in seeker_info.lines(model):
        out.print(line)
    if json is not None:
        options.write_report(json, seeker_info.report(model))
        out.print(f"wrote {json}")


def _timed(
    detector: Detector, size: tuple[int, int], rule: str, rounds: int, device: str, threads: int | None
) -> tuple[Cost, str]:
    import torch

    from finespot import zoo
    from finespot.runtimes.settings import choose_device, choose_threads

    where = choose_device(device, None)
    count = choose_threads(threads)
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        cost = zoo.measure(detector.to(where.value), size, rule, rounds)
    finally:
        torch.set_num_threads(before)
    return cost, f"timed on {where.value} ({where.reason}), fp32, {count} threads, median of {rounds} runs"


def _stages(cost: Cost, title: str) -> Any:
    from finespot.writers.table import ResultTable

    timed = cost.stages[0].seconds is not None
    numbers = ("parameters", "GFLOPs", "output MiB", *(("ms",) if timed else ()))
    table = ResultTable(("part",), numbers, title=title)
    for one in cost.stages:
        time = (f"{1000 * (one.seconds or 0):.2f}",) if timed else ()
        table.row(one.name, f"{one.parameters:,}", f"{one.gflops:.3f}", f"{one.output_mib:.2f}", *time)
    return table


def _layers(cost: Cost) -> Any:
    """The layers that take longest."""
    from finespot.writers.table import ResultTable

    whole = sum(one.seconds for one in cost.layers)
    shown = sorted(cost.layers, key=lambda one: -one.seconds)[:SHOWN_LAYERS]
    table = ResultTable(
        ("layer", "kind"), ("ms", "%"), title=f"the slowest of {len(cost.layers)} layers (--json has all)"
    )
    for one in shown:
        table.row(one.name, one.kind, f"{1000 * one.seconds:.2f}", f"{100 * one.seconds / whole:.1f}")
    return table


def _summary(cost: Cost, card: Card | None) -> list[str]:
    from finespot.zoo import RULES

    lines = [
        f"parameters: {cost.parameters:,}, fused {cost.parameters_fused:,}",
        f"GFLOPs: {cost.gflops:.3f}, fused {cost.gflops_fused:.3f} ({RULES[cost.rule]})",
        f"activations in float32, one picture: {cost.inference_mib:.1f} MiB at most at one time (fused), "
        f"{cost.training_mib:.1f} MiB kept by a training step",
    ]
    if card is not None:
        lines.append(f"classes: {', '.join(card.classes.names)}")
        lines += [
            f"measured: {one.protocol} on {one.data} {one.split} at {one.imgsz} px: "
            + ", ".join(f"{key} {value:.3f}" for key, value in list(one.values.items())[:4] if value is not None)
            for one in card.metrics
        ]
        if card.levels_off:
            lines.append(f"levels that are off, as they were not trained yet: {', '.join(card.levels_off)}")
        if card.resolution is not None:
            lines.append(f"pictures of training: {card.resolution:g} m of ground a pixel")
        if card.data_licence:
            lines.append(f"licence of the training data: {card.data_licence}")
    return lines
