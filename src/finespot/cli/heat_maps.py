"""The options of `predict --explain`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from finespot.cli import options

if TYPE_CHECKING:
    from finespot.cli.predict import Products
    from finespot.inference import Model
    from finespot.structures import Tiling
    from finespot.writers import Writer

PANEL = "Heat maps"
# What heat is, in the words below a heat map.
WORDS = {"class": "what raises the scores", "box": "what moves the boxes", "both": "what makes scores and boxes"}

Target = Annotated[
    str | None,
    typer.Option(
        "--target", help="what is explained: class (scores), box or both (default: class)", rich_help_panel=PANEL
    ),
]
Method = Annotated[
    str | None,
    typer.Option(
        "--method",
        help="how gradients weigh activations: hirescam, layercam or gradcam (default: hirescam)",
        rich_help_panel=PANEL,
    ),
]
Layers = Annotated[
    str | None,
    typer.Option(
        "--layers",
        help="layers that are looked at, by dotted names, comma-separated, such as backbone (default: neck)",
        rich_help_panel=PANEL,
    ),
]


@dataclass(frozen=True)
class HeatMaps:
    """Whether heat maps are drawn, and what the options of that name say; None where one was left out."""

    explain: bool
    target: str | None
    method: str | None
    layers: str | None

    def check(self, video: bool) -> None:
        """Raise `FineSpotError` where an option has no effect, or a video is to be explained."""
        from finespot.errors import FineSpotError

        for option, given in (("target", self.target), ("method", self.method), ("layers", self.layers)):
            if given is not None and not self.explain:
                raise FineSpotError("has no effect without --explain", where=option)
        if self.explain and video:
            raise FineSpotError(
                "explains pictures, not a video", where="explain", hint="give some of its frames as pictures"
            )

    def writers(self, model: Model, tiling: Tiling | None, imgsz: int | None, products: Products) -> list[Writer]:
        """What draws the heat maps, if any.

        Raises
        ------
        FineSpotError
            See `finespot.inference.Explainer`.
        """
        from finespot.writers import HeatWriter

        if not self.explain:
            return []
        layers = [word.strip() for word in (self.layers or "neck").split(",")]
        explainer = model.explainer(
            method=self.method or "hirescam",
            target=self.target or "class",
            layers=layers,
            tiling=tiling,
            imgsz=imgsz,
        )
        what = f"{WORDS[explainer.target]} ({explainer.method} of {', '.join(layers)})"
        labels = products.labels is not False
        return [HeatWriter(explainer, what, products.line_width, labels, options.picture_format(products.format))]

    def notes(self, writers: Sequence[Writer]) -> list[str]:
        """What is to be said of the heat maps that were drawn, and of those that were not."""
        from finespot.errors import some
        from finespot.inference import Explainer
        from finespot.writers import HeatWriter

        notes = []
        for writer in writers:
            if not isinstance(writer, HeatWriter):
                continue
            if writer.empty:
                names = some([os.path.basename(name) for name in writer.empty])
                notes.append(
                    f"{len(writer.empty)} pictures have no heat map, as nothing was found (lower conf?): {names}"
                )
            if isinstance(writer.explain, Explainer) and writer.explain.unmatched:
                notes.append(
                    f"the heat of {writer.explain.unmatched} detections is missing: their boxes are those of no "
                    "point of the network"
                )
        return notes
