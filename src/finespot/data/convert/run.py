"""Convert a data set: read it, choose splits and classes, write it in another layout."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finespot.data.builder import counted
from finespot.data.convert.classes import chosen, unify
from finespot.data.convert.placing import Handling
from finespot.data.convert.pool import Pool, distinct, join
from finespot.data.convert.rules import parse_rules
from finespot.data.convert.tally import Tally, tally
from finespot.data.convert.write import Watch, open_target, refuse_overlap, write_dataset
from finespot.data.dataset import Dataset, find_format

Divide = Callable[[list[tuple[str, Pool]]], tuple[list[tuple[str, Pool]], list[str]]]


@dataclass(frozen=True)
class Conversion:
    """What a conversion did.

    Attributes
    ----------
    folder:
        Where the new data set lies.
    source, written:
        The counts of each new split: as read, under the new class names, and as read back from the new folder.
    left_out:
        Annotations of classes that were not kept, by split and class.
    notes:
        All that was found, decided or lost, one line each.
    """

    folder: Path
    source: Mapping[str, Tally]
    written: Mapping[str, Tally]
    left_out: Mapping[str, Counter[str]]
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The numbers and notes, for a report."""
        return {
            "folder": str(self.folder),
            "source": {split: one.to_json() for split, one in self.source.items()},
            "written": {split: one.to_json() for split, one in self.written.items()},
            "left_out": {split: dict(one) for split, one in self.left_out.items()},
            "notes": self.notes,
        }


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    splits: Sequence[str] = (),
    classes: Sequence[str] = (),
    others: str = "drop",
    handling: Handling | None = None,
    divide: Divide | None = None,
    overwrite: bool = False,
    workers: int | None = None,
    watch: Watch | None = None,
    tell: Callable[[str], None] = lambda text: None,
    verb: Sequence[str] = ("convert",),
) -> Conversion:
    """Write the data set `source` as `target` (`FORMAT:FOLDER`).

    Parameters
    ----------
    splits, classes:
        Which to keep, under which name, and which to merge (see `finespot.data.convert.rules`); by default all.
    others:
        What becomes of the objects of other classes: `drop`, or `ignore` (ignore regions without a class).
    handling:
        What happens to the pictures; by default they are linked.
    divide:
        Makes other splits of those that were chosen.
    overwrite:
        Replace a data set that FineSpot wrote, and discard what an interrupted conversion left.
    workers, watch, tell:
        See `finespot.data.convert.write.write_dataset`.
    verb:
        The verb that does this, with options of its own, for the record in the folder.

    Raises
    ------
    FineSpotError
        Something is wrong with the source, or cannot be done.
    """
    goal = open_target(target, overwrite)
    layout, place = find_format(source)
    rules = parse_rules(splits, layout.splits(place), "split")
    opened = {}
    for name in [name for rule in rules for name in rule.old]:
        tell(f"reading {name}")
        opened[name] = layout.open(place, name)
    refuse_overlap(goal, place, list(opened.values()))
    notes = [f"{name}: {note}" for name, data in opened.items() for note in data.notes]
    pools, more = unify([Pool.of(data) for data in opened.values()])
    notes += more
    by_name = dict(zip(opened, pools))
    chosen_splits = []
    for rule in rules:
        pool, more = distinct(join([by_name[name] for name in rule.old]))
        chosen_splits.append((rule.new, pool))
        notes += [f"{rule.new}: {note}" for note in more]
    if divide is not None:
        chosen_splits, more = divide(chosen_splits)
        notes += more
    class_rules = parse_rules(classes, pools[0].classes.names, "class")
    made: list[Dataset] = []
    counts: dict[str, Tally] = {}
    left_out: dict[str, Counter[str]] = {}
    for split, pool in chosen_splits:
        kept, left_out[split] = chosen(pool, class_rules, others)
        counts[split] = tally(kept)
        made.append(kept.dataset(goal.folder.name, split))
        notes += _left_note(split, left_out[split], others)
    handling = handling or Handling()
    words = [verb[0], os.fspath(source), os.fspath(target), *verb[1:], *_options(splits, classes, others, handling)]
    how = shlex.join(["finespot", "data", *words])
    written = write_dataset(goal, made, handling, how=how, found=notes, workers=workers, watch=watch, tell=tell)
    return Conversion(goal.folder, counts, written.splits, left_out, written.notes)


def _left_note(split: str, left: Counter[str], others: str) -> list[str]:
    if not left:
        return []
    what = "left out" if others == "drop" else "now ignore regions without a class"
    listed = ", ".join(f"{name} ({count})" for name, count in left.items())
    annotations = counted(left.total(), "1 annotation", "annotations")
    return [f"{split}: {annotations} of other classes {what}: {listed}"]


def _options(splits: Sequence[str], classes: Sequence[str], others: str, handling: Handling) -> list[str]:
    """The options of the command line that say the same."""
    words = [word for one in splits for word in ("--splits", one)]
    words += [word for one in classes for word in ("--classes", one)]
    words += ["--other-classes", others] if classes else []
    words += ["--images", handling.way]
    words += ["--paint-ignore", str(handling.fill)] if handling.fill is not None else []
    return words + (["--paint-objects"] if handling.objects else [])
