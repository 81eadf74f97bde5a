"""What `score` and `val` tell beside the numbers: errors, intervals, thresholds, comparisons, plots, a page.

All of it is by the first protocol. Where an official one averages in a way for which pictures cannot be drawn anew, its
clean form takes its place in intervals, under its own name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from finespot.cli import options

if TYPE_CHECKING:
    from rich.console import Console

    from finespot.metrics import ConfidenceCurve, ConfidenceCurves, Protocol, Report, Results, Truth
    from finespot.metrics.page import PictureOf

T = TypeVar("T")

# Sides in pixels that part the table of errors, where the user names none.
_SIZES = (8.0, 16.0, 32.0)
_RESAMPLES = 1000
# As in TIDE.
_LIMIT = 100
# For the bands of a plot fewer do.
_DRAWN = 200

_PLOTS = ("pr_curves", "confusion", "confidence", "calibration", "errors", "size", "comparison")

PANEL = "Analysis"
Errors = Annotated[
    bool,
    typer.Option("--errors", help="which kinds of errors cost how much AP, and at which size", rich_help_panel=PANEL),
]
Thresholds = Annotated[
    bool,
    typer.Option(
        "--thresholds", help="each class's confidence of the best F1, and its calibration", rich_help_panel=PANEL
    ),
]
Intervals = Annotated[
    int | None,
    typer.Option(
        "--bootstrap", min=1, help="confidence intervals from so many draws of the pictures", rich_help_panel=PANEL
    ),
]
Page = Annotated[
    Path | None,
    typer.Option("--html", help="write a page with numbers, plots and the worst pictures", rich_help_panel=PANEL),
]


@dataclass(frozen=True)
class Wanted:
    """What was asked for; `plots` is a folder, `resamples` None where no intervals are.

    `limit` is the number of detections in a picture, of all classes, that errors are looked for among.
    """

    errors: bool = False
    thresholds: bool = False
    resamples: int | None = None
    sizes: tuple[float, ...] = _SIZES
    plots: Path | None = None
    html: Path | None = None
    limit: int = _LIMIT


@dataclass(frozen=True)
class Analysis:
    """Truth and results with the reports of all protocols, official ones first, and what stands beside them.

    `against` are other results of the same truth, `names` what the two are called. `picture` gives the picture at a
    position of the truth.
    """

    truth: Truth
    results: Results
    reports: Sequence[Report]
    split: str
    against: Results | None = None
    names: tuple[str, str] = ("A", "B")
    picture: PictureOf | None = None

    @property
    def rules(self) -> Protocol:
        """The protocol that all is by."""
        return self.reports[0].protocol

    def tell(self, wanted: Wanted, out: Console) -> tuple[dict[str, Any], list[Path]]:
        """Print what was asked for; returns it for a JSON file, and the files that were written."""
        from finespot import metrics
        from finespot.metrics.subset import by_rules

        found: dict[str, Any] = {}
        kinds = curves = compared = None
        if wanted.errors or wanted.plots or wanted.html:
            kinds = metrics.tide(
                *by_rules(self.truth, self.results, self.rules), sizes=wanted.sizes, max_dets=wanted.limit
            )
        if wanted.errors and kinds is not None:
            _show(out, "errors", kinds.table())
            found["errors"] = kinds.to_json()
        if wanted.thresholds or wanted.plots or wanted.html:
            curves = metrics.confidence_curves(self.truth, self.results, self.rules)
        if wanted.thresholds and curves is not None:
            _show(out, "thresholds", _thresholds(curves, self.truth, self.results, self.rules))
            found["thresholds"] = _thresholds_json(curves)
        if wanted.resamples is not None:
            count = wanted.resamples
            drawn = self._drawn(lambda rules: metrics.bootstrap(self.truth, self.results, rules, resamples=count))
            _show(out, "intervals", drawn.table())
            found["intervals"] = drawn.to_json()
        if (other := self.against) is not None:
            count = wanted.resamples or _RESAMPLES
            compared = self._drawn(
                lambda rules: metrics.compare(self.truth, other, self.results, rules, names=self.names, resamples=count)
            )
            _show(out, "comparison", compared.table())
            found["comparison"] = compared.to_json()
        return found, self._draw(wanted, curves, kinds, compared)

    def _drawn(self, make: Callable[[Protocol], T]) -> T:
        """What is made by the protocol or, where pictures cannot be drawn for it, by its clean form."""
        from finespot.errors import FineSpotError

        try:
            return make(self.rules)
        except FineSpotError as error:
            clean = self.rules.clean()
            if clean is self.rules or "pictures cannot be drawn" not in error.what:
                raise
            return make(clean)

    def _draw(self, wanted: Wanted, curves: ConfidenceCurves | None, kinds: Any, compared: Any) -> list[Path]:
        """The plots in their folder, and the page with the plots on it."""
        from tempfile import TemporaryDirectory

        from finespot.metrics.page import Diagram, report_page
        from finespot.writers import make_folder

        if curves is None or (wanted.plots is None and wanted.html is None):
            return []
        written = []
        with TemporaryDirectory() as scratch:
            folder = make_folder(wanted.plots) if wanted.plots is not None else Path(scratch)
            diagrams = self._diagrams(folder, wanted, curves, kinds, compared)
            if wanted.plots is not None:
                written += [path for _, path, _ in diagrams]
            if wanted.html is not None:
                # Curves of precision over recall and the confusion matrix are on every page.
                own = [Diagram(title, path.read_bytes(), text) for title, path, text in diagrams if text]
                page = report_page(
                    *(wanted.html, self.reports, self.truth, self.results),
                    picture=self.picture,
                    figures=own,
                    split=self.split,
                )
                written.append(page)
        return written

    def _diagrams(
        self, folder: Path, wanted: Wanted, curves: ConfidenceCurves, kinds: Any, compared: Any
    ) -> list[tuple[str, Path, str]]:
        """Title, file and caption of each plot; those without a caption are on a page anyway."""
        from finespot import metrics
        from finespot.metrics import plots
        from finespot.metrics.subset import by_rules
        from finespot.metrics.tide_plot import tide_bars

        truth, results = self.truth, self.results
        resamples = wanted.resamples or _DRAWN
        conf = curves.together.best_threshold()
        least = 0.25 if conf is None else conf.confidence
        # The confusion matrix knows crowds only.
        own_truth, own_results = by_rules(truth, results, self.rules)
        matrix = metrics.confusion_matrix(own_truth, own_results, conf=least)
        made = [
            ("Precision and recall", plots.pr_curves(self.reports[0], folder / "pr_curves.png"), ""),
            ("Confusion", plots.confusion(matrix, own_truth.classes, folder / "confusion.png", conf=least), ""),
            (
                "Confidence",
                plots.confidence(curves, folder / "confidence.png"),
                "precision, recall and F1 of the detections of at least a confidence",
            ),
            (
                "Errors",
                tide_bars(kinds, folder / "errors.png"),
                "what each kind of error costs, and how many",
            ),
        ]
        if _are_shares(results):
            picture = plots.reliability(metrics.calibration(truth, results, self.rules), folder / "calibration.png")
            made.append(("Calibration", picture, "whether a confidence of 0.7 means that seven in ten are right"))
        if curves.together.objects and len(truth.image_ids) > 1:
            curve = self._drawn(lambda rules: metrics.size_curve(truth, results, rules, resamples=resamples))
            text = "AP and recall against the side of the objects, with intervals over pictures"
            made.append(("Object size", plots.size_curve(curve, folder / "size.png"), text))
        if compared is not None:
            made.append(("Comparison", plots.comparison(compared, folder / "comparison.png"), compared.verdict))
        return made


def _show(out: Console, title: str, table: Any) -> None:
    out.print(f"\n{title}", style="bold", highlight=False, markup=False)
    out.print(table)


def _thresholds(curves: ConfidenceCurves, truth: Truth, results: Results, rules: Protocol) -> Any:
    """A table of the best thresholds and calibration errors."""
    from rich.console import Group
    from rich.text import Text

    from finespot import metrics
    from finespot.writers.table import ResultTable

    calibration = metrics.calibration(truth, results, rules, iou=curves.iou) if _are_shares(results) else None
    table = ResultTable(("class",), ("confidence", "precision", "recall", "F1", "ECE"), box=None, pad_edge=False)
    last = curves.together
    for name, curve in (*curves.classes.items(), ("all", last)):
        best = curve.best_threshold()
        numbers = (None,) * 4 if best is None else (best.confidence, best.precision, best.recall, best.f1)
        reliable = (
            None if calibration is None else calibration.overall if curve is last else calibration.classes.get(name)
        )
        cells = (*numbers, None if reliable is None else reliable.ece)
        style = "bold" if curve is last else None
        table.row(name, *("-" if number is None else f"{number:.3f}" for number in cells), style=style)
    text = f"{rules.name}, best F1 at IoU {curves.iou:g}; ECE: mean distance of confidence and share of true positives"
    if calibration is None:
        text += " (left out: scores are not all from 0 to 1)"
    return Group(table, Text(text))


def _thresholds_json(curves: ConfidenceCurves) -> dict[str, Any]:
    from dataclasses import asdict

    def plain(curve: ConfidenceCurve) -> dict[str, Any] | None:
        best = curve.best_threshold()
        return None if best is None else asdict(best)

    return {
        "per_class": {name: plain(curve) for name, curve in curves.classes.items()},
        "all": plain(curves.together),
    }


def _are_shares(results: Results) -> bool:
    """Whether scores lie from 0 to 1, so that they can be compared with shares."""
    return not len(results) or bool(results.scores.min() >= 0 and results.scores.max() <= 1)


def limit_of(text: str | None, rules: Sequence[Protocol]) -> int:
    """The limit for errors: the largest that `--max-dets` names, else TIDE's own."""
    return _LIMIT if text is None else rules[0].largest or _LIMIT


def plot_files(folder: Path | None) -> list[Path]:
    """What `--plots` may write."""
    return [] if folder is None else [folder / f"{name}.png" for name in _PLOTS]


def sizes_of(text: str | None) -> tuple[float, ...]:
    """The bounds of size bins: those of `--sizes`, else the usual ones."""
    return _SIZES if text is None else tuple(options.bounds(text))
