"""What `finespot compare` writes of each picture, and the truth that it shows beside what was found."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finespot.inference import Comparison, Source
    from finespot.structures import Annotations, Classes
    from finespot.writers import CocoWriter, DrawingWriter

# The folder of the sheets, and the title of the truth.
SHEETS, TRUTH = "sheets", "truth"


class Truth:
    """The truth of pictures, found by their files: objects of the classes `wanted` (None: all) and ignore regions."""

    def __init__(self, spec: str, split: str, wanted: Sequence[str] | None = None) -> None:
        from finespot.data import open_dataset
        from finespot.errors import FineSpotError

        self.spec, self._dataset = spec, open_dataset(spec, split)
        self.classes = self._dataset.classes
        self._labels = [i for i, name in enumerate(self.classes) if wanted is None or name in wanted]
        self.paths = [self._dataset.path(i) for i in range(len(self._dataset))]
        if any(self._dataset.window(i) is not None for i in range(len(self._dataset))):
            raise FineSpotError("expected pictures that are whole files but got windows of files", where=spec)
        self._index = {os.path.realpath(path): i for i, path in enumerate(self.paths)}

    def __call__(self, picture: str) -> Annotations | None:
        """The truth of a picture; None where the data set does not hold it."""
        import numpy as np

        index = self._index.get(os.path.realpath(picture))
        if index is None:
            return None
        truth = self._dataset.annotations(index)
        return truth.select(truth.ignore | np.isin(truth.labels, self._labels))

    def missing(self, pictures: Source) -> list[str]:
        """A note on pictures without truth.

        Raises
        ------
        FineSpotError
            No picture has any.
        """
        from finespot.errors import FineSpotError

        count = sum(os.path.realpath(entry.name) not in self._index for entry in pictures.entries)
        if count == len(pictures):
            raise FineSpotError(f"holds none of the {count} pictures of the source", where=self.spec)
        return [f"{count} of {len(pictures)} pictures are not in {self.spec} and have no truth"] if count else []


class Outputs:
    """What is written of each picture: a sheet; for each model its detections, and a drawing where `images` is set.

    Drawings have the colors of the `common` classes, files of detections the ids of the model's own.
    """

    def __init__(
        self,
        titles: Sequence[str],
        common: Classes,
        truth: Truth | None,
        extension: str,
        images: bool,
        sheet: Mapping[str, Any],
    ) -> None:
        from finespot.writers import CocoWriter, DrawingWriter

        self.common, self.truth, self.extension = common, truth, extension
        self.sheet = {**sheet, "labels": sheet["labels"] is not False}
        if sheet["side"] is None:
            del self.sheet["side"]
        self.records: dict[str, CocoWriter] = {title: CocoWriter() for title in titles}
        self.drawings: dict[str, DrawingWriter] = {
            title: DrawingWriter(sheet["line_width"], self.sheet["labels"], self.extension)
            for title in (titles if images else ())
        }

    def open(self, folder: Path, stack: ExitStack) -> None:
        """Make the folders; the stack closes all files, also when one fails."""
        from finespot.writers import Names, make_folder

        self.names = Names()
        self.sheets = make_folder(folder / SHEETS)
        for writers in (self.drawings, self.records):
            for title, writer in writers.items():
                writer.open(folder / title, self.names)
                stack.callback(writer.close)

    def write(self, comparison: Comparison) -> None:
        """Write one picture."""
        from finespot.inference import relabelled, relabelled_truth
        from finespot.writers import sheet, write_drawing

        shown = {title: relabelled(found, self.common) for title, found in comparison.found.items()}
        for title, found in comparison.found.items():
            self.records[title].write(found)
        for title, drawing in self.drawings.items():
            drawing.write(shown[title], comparison.pixels)
        panels: dict[str, Any] = dict(shown)
        if self.truth is not None:
            truth = self.truth(comparison.source)
            if truth is not None:
                truth = relabelled_truth(truth, self.truth.classes, self.common)
            panels = {TRUTH: truth, **shown}
        page = sheet(comparison.pixels, panels, self.common, **self.sheet)
        write_drawing(self.sheets / f"{self.names.of(comparison.source)}.{self.extension}", page)
