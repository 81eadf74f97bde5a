"""`finespot models`: what can be trained, and which weights come with the package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from finespot.cli import options

if TYPE_CHECKING:
    from finespot.weights import MetricRecord


def command(
    classes: Annotated[
        int, typer.Option("--classes", min=1, help="class count to count parameters for", rich_help_panel=options.RUN)
    ] = 80,
    json: options.Json = None,
    overwrite: options.OverwriteFiles = False,
) -> None:
    """List the architectures with their parameters, and the bundled weights with what they reach."""
    import torch

    from finespot import weights, zoo
    from finespot.cli.terminal import console
    from finespot.writers.table import ResultTable

    options.check_outputs(json, overwrite=overwrite)
    counts = {}
    for name in zoo.names():
        with torch.device("meta"):
            counts[name] = zoo.count_parameters(zoo.build(zoo.architecture(name, classes)))
    out = console()
    table = ResultTable(("name",), ("parameters",), title=f"architectures, {classes} classes")
    for name, count in counts.items():
        table.row(name, f"{count:,}")
    out.print(table)
    bundled = {name: weights.read_card(weights.resolve(name)) for name in weights.bundled()}
    texts = ("name", "architecture", "classes", "measured", "licence of the training data")
    table = ResultTable(texts, ("input",), title="weights in the package")
    for name, card in bundled.items():
        table.row(
            name,
            zoo.name_of(card.architecture),
            ", ".join(card.classes.names),
            "; ".join(_figures(measured) for measured in card.metrics),
            card.data_licence,
            str(card.imgsz),
        )
    out.print(table)
    if json is not None:
        options.write_report(json, {"architectures": counts, "weights": sorted(bundled)})
        out.print(f"wrote {json}")


def _figures(measured: MetricRecord) -> str:
    """The leading figures of one measurement with what they were measured on."""
    values = {name: measured.values.get(name) for name in ("AP", "AP50")}
    numbers = " ".join(f"{name} {value:.3f}" for name, value in values.items() if value is not None)
    return f"{numbers} ({measured.protocol}, {measured.data} {measured.split}, {measured.imgsz} px)"
