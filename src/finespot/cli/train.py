"""`finespot train`: learn from labelled pictures. Options are keys of the recipe under the names people know."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from finespot.cli import options

_CURRICULA = ", ".join(
    sorted(path.stem for path in (Path(__file__).parent.parent / "recipes" / "curricula").glob("*.yaml"))
)


def command(
    model: Annotated[
        str | None,
        typer.Argument(help="an architecture from `finespot models`, seeker, or weights (.safetensors) to go on from"),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", help="a YOLO .yaml, or FORMAT:DIR such as coco:DIR", rich_help_panel=options.RUN),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe", help="a name that 'finespot models' lists, or a YAML file", rich_help_panel=options.RUN
        ),
    ] = None,
    show_recipe: Annotated[
        bool,
        typer.Option("--show-recipe", help="print all keys of the recipe and stop", rich_help_panel=options.RUN),
    ] = False,
    epochs: Annotated[int | None, typer.Option("--epochs", help="passes", rich_help_panel=options.RUN)] = None,
    imgsz: Annotated[int | None, typer.Option("--imgsz", help="input side in px", rich_help_panel=options.RUN)] = None,
    batch: Annotated[int | None, typer.Option("--batch", help="pictures a step", rich_help_panel=options.RUN)] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", help="start from these weights", rich_help_panel=options.RUN)
    ] = None,
    curriculum: Annotated[
        str | None,
        typer.Option(
            "--curriculum",
            help=f"train in stages: {_CURRICULA}, or a YAML file (docs/curriculum.md)",
            rich_help_panel=options.RUN,
        ),
    ] = None,
    stage: Annotated[
        int | None,
        typer.Option("--stage", help="only this stage of the curriculum, from 1", rich_help_panel=options.RUN),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="of everything random", rich_help_panel=options.RUN)
    ] = None,
    box_loss: Annotated[
        str | None,
        typer.Option("--box-loss", help="as ciou, or ciou*0.5+nwd*0.5 (docs/losses.md)", rich_help_panel=options.RUN),
    ] = None,
    assigner: Annotated[
        str | None,
        typer.Option(
            "--assigner", help="as task_aligned, atss(topk=9) (docs/assigners.md)", rich_help_panel=options.RUN
        ),
    ] = None,
    nms: Annotated[
        str | None,
        typer.Option("--nms", help="suppression of validation, as soft(sigma=0.3)", rich_help_panel=options.RUN),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            "--backbone", help="in place of the model's own, as timm(name=resnet18)", rich_help_panel=options.RUN
        ),
    ] = None,
    relay: Annotated[
        str | None,
        typer.Option("--relay", help="between backbone and neck, as sarl(reduction=8)", rich_help_panel=options.RUN),
    ] = None,
    neck: Annotated[
        str | None, typer.Option("--neck", help="in place of the model's own, as fpn", rich_help_panel=options.RUN)
    ] = None,
    head: Annotated[
        str | None,
        typer.Option("--head", help="in place of the model's own, as anchor_free", rich_help_panel=options.RUN),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", help="go on with this run folder", rich_help_panel=options.RUN)
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="a key of the recipe (--show-recipe), as optimizer.lr=0.02", rich_help_panel=options.RUN
        ),
    ] = None,
    device: Annotated[str | None, typer.Option("--device", help="auto, cpu, 0", rich_help_panel=options.SPEED)] = None,
    workers: Annotated[
        str | None, typer.Option("--workers", help="loader processes, or auto", rich_help_panel=options.SPEED)
    ] = None,
    project: options.Project = None,
    name: Annotated[str | None, typer.Option("--name", help="run folder", rich_help_panel=options.OUT)] = None,
) -> None:
    """Train a detector, or a seeker; weights, metrics.csv and plots go into a new folder under runs/train."""
    from finespot.errors import FineSpotError
    from finespot.training import train
    from finespot.training.choice import choose_recipe
    from finespot.training.recipe import parse_words
    from finespot.training.recipe_text import annotated

    options_given = {
        "model": model,
        "data": data,
        "epochs": epochs,
        "imgsz": imgsz,
        "batch": batch,
        "weights": weights,
        "curriculum": curriculum,
        "stage": stage,
        "seed": seed,
        "device": device,
        "name": name,
        "options.backbone": backbone,
        "options.relay": relay,
        "options.neck": neck,
        "options.head": head,
        "loss.box_loss": box_loss,
        "loss.assigner": assigner,
        "val.nms": nms,
    }
    given = {key: value for key, value in options_given.items() if value is not None}
    words = parse_words([*(set_ or []), *([f"workers={workers}"] if workers is not None else [])])
    for key in sorted(given.keys() & words.keys()):
        if given[key] != words[key]:
            raise FineSpotError(f"is given twice: {given[key]} and {words[key]}", where=key)
    values = {**words, **given}
    model, data = values.pop("model", None), values.pop("data", None)
    if show_recipe:
        print(annotated(choose_recipe(model, data, recipe=recipe, resume=resume, overrides=values)), end="")
    else:
        train(model, data, recipe=recipe, resume=resume, project=project, **values)
