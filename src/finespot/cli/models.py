"""`finespot models`: what can be trained and by which recipes, and which weights come with the package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from finespot.cli import options, seeker_info

if TYPE_CHECKING:
    from finespot.weights import Card, MetricRecord, SeekerCard

SIDE = 640


def command(
    pattern: Annotated[
        str | None, typer.Argument(help="only architectures of this name, as 'yolo*-p2', with their parameters")
    ] = None,
    classes: Annotated[
        int, typer.Option("--classes", min=1, help="class count to count parameters for", rich_help_panel=options.RUN)
    ] = 80,
    cost: Annotated[
        bool,
        typer.Option(
            "--cost",
            help="fused parameters and GFLOPs at 640 px too (a second each)",
            rich_help_panel=options.RUN,
        ),
    ] = False,
    rule: options.Rule = "counted",
    json: options.Json = None,
    overwrite: options.OverwriteFiles = False,
) -> None:
    """List architectures, recipes, and the bundled weights with what they reach."""
    from finespot import zoo
    from finespot.cli.terminal import console
    from finespot.errors import unknown

    options.check_outputs(json, overwrite=overwrite)
    if rule not in zoo.RULES:
        raise unknown("rule", rule, zoo.RULES, where="rule")
    out = console()
    whole = cost or json is not None
    rows: list[dict[str, Any]] = []
    if pattern is None and not whole:
        out.print(_families())
        out.print(_recipes())
    else:
        rows = _rows(out, _names(pattern or "*"), classes, rule, whole)
        out.print(_architectures(rows, f"architectures, {classes} classes" + (f"; {zoo.RULES[rule]}" if whole else "")))
    cards, seekers = _weights()
    out.print(_bundled(cards))
    if seekers:
        out.print(seeker_info.table(seekers))
    if json is not None:
        options.write_report(json, {"architectures": rows, "weights": list(cards), "seekers": list(seekers)})
        out.print(f"wrote {json}")


def _names(pattern: str) -> list[str]:
    from fnmatch import fnmatchcase

    from finespot import zoo
    from finespot.errors import FineSpotError

    names = [name for name in zoo.names() if fnmatchcase(name, pattern)]
    if not names:
        raise FineSpotError(f"no architecture is called '{pattern}'", hint="finespot models lists all")
    return names


def _families() -> Any:
    """What there is without counting anything: that takes a tenth of a second a network."""
    from finespot import zoo
    from finespot.writers.table import ResultTable

    title = "architectures ('finespot models yolox*' counts parameters, --cost operations too)"
    table = ResultTable(("family", "names"), (), title=title)
    for family in zoo.families():
        table.row(family.name, " ".join(family.names()))
    return table


def _recipes() -> Any:
    """What each recipe trains."""
    from finespot.training import load_recipe, recipe_names
    from finespot.writers.table import ResultTable

    title = "recipes ('finespot train --recipe NAME'; a family's own is taken by itself)"
    table = ResultTable(("recipe", "model"), ("epochs", "px"), title=title)
    for name in recipe_names():
        recipe = load_recipe(name)
        table.row(name, recipe.model, str(recipe.epochs), str(recipe.imgsz))
    return table


def _rows(out: Any, names: list[str], classes: int, rule: str, whole: bool) -> list[dict[str, Any]]:
    from finespot.cli.progress import bar

    rows = []
    with bar(out, "models", len(names)) as advance:
        for name in names:
            rows.append(_figures(name, classes, rule, whole))
            advance()
    return rows


def _figures(name: str, classes: int, rule: str, whole: bool) -> dict[str, Any]:
    import torch

    from finespot import zoo

    with torch.device("meta"):
        detector = zoo.build(zoo.architecture(name, classes))
    found: dict[str, Any] = {"name": name, "parameters": zoo.count_parameters(detector)}
    if not whole:
        return found
    fused = detector.fused()
    return {
        **found,
        "parameters_fused": zoo.count_parameters(fused),
        "gflops": zoo.count_gflops(detector, (SIDE, SIDE), rule),
        "gflops_fused": zoo.count_gflops(fused, (SIDE, SIDE), rule),
        "rule": f"{rule}: {zoo.RULES[rule]}",
        "size": [SIDE, SIDE],
    }


def _architectures(rows: list[dict[str, Any]], title: str) -> Any:
    from finespot.writers.table import ResultTable

    whole = "gflops" in rows[0]
    table = ResultTable(("name",), ("parameters", *(("fused", "GFLOPs", "fused GFLOPs") if whole else ())), title=title)
    for row in rows:
        more = (f"{row['parameters_fused']:,}", f"{row['gflops']:.2f}", f"{row['gflops_fused']:.2f}") if whole else ()
        table.row(row["name"], f"{row['parameters']:,}", *more)
    return table


def _weights() -> tuple[dict[str, Card], dict[str, SeekerCard]]:
    """The cards of the detectors and of the seekers in the package."""
    from finespot import weights

    paths = {name: weights.resolve(name) for name in weights.bundled()}
    seekers = {name: weights.read_seeker_card(path) for name, path in paths.items() if weights.is_seeker(path)}
    return {name: weights.read_card(path) for name, path in paths.items() if name not in seekers}, seekers


def _bundled(cards: dict[str, Card]) -> Any:
    from finespot import zoo
    from finespot.writers.table import ResultTable

    texts = ("name", "architecture", "classes", "measured", "licence of the training data")
    table = ResultTable(texts, ("input",), title="weights in the package")
    for name, card in cards.items():
        table.row(
            name,
            zoo.name_of(card.architecture),
            ", ".join(card.classes.names),
            "; ".join(_measured(measured) for measured in card.metrics),
            card.data_licence,
            str(card.imgsz),
        )
    return table


def _measured(measured: MetricRecord) -> str:
    """The leading figures of one measurement with what they were measured on."""
    values = {name: measured.values.get(name) for name in ("AP", "AP50")}
    numbers = " ".join(f"{name} {value:.3f}" for name, value in values.items() if value is not None)
    return f"{numbers} ({measured.protocol}, {measured.data} {measured.split}, {measured.imgsz} px)"
