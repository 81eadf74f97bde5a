"""A study as data: one recipe, rows that change some of its keys, seeds, and what a paper claims for a row.

    title: A level at stride 4
    base: {model: yolo11n, epochs: 100}
    seeds: [0, 1, 2]
    rows:
      plain: {}
      p2: {set: {model: yolo11n-p2}, claimed: {AP: 27.1, protocol: ..., source: ...}}

All rows share data, epochs and scoring, and are trained to the end: an early stop would give them unequal budgets, and
a choice among many epochs favors whatever trains longest. So these keys are refused where a row changes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from finespot import metrics
from finespot.errors import FineSpotError, unknown
from finespot.training import settings
from finespot.training.choice import own_recipe
from finespot.training.claim import Claim
from finespot.training.recipe import FOLDER as RECIPES
from finespot.training.recipe import Recipe, Seed, apply, load_recipe

FOLDER = RECIPES / "studies"
# What a paper may print beside the scores of the protocol.
COSTS = ("parameters", "gflops")
# What must be said of every claim.
_SAID = ("protocol", "source")
# Keys that belong to the study as a whole, with the place where they are said.
_SHARED = {
    "data": "give it for all rows, in base or with --data",
    "splits": "give it for all rows, in base",
    "epochs": "give it for all rows, in base or with --epochs",
    "val.every": "give it for all rows, in base",
}
_OWN = {
    "patience": "a study trains all rows to their last epoch",
    "seed": "the study's seeds say it (--seeds)",
    "name": "the run folders are named by row and seed",
    "val.protocol": "the study's protocol says it (--protocol)",
    "claimed": "it stands beside set, in a row",
}
_ONE_PROCESS = "the rows of a study train in one process; give other machines other rows (--rows)"
# Row names become folder names, and stand in lists with commas on the command line.
_ROW_NAME = re.compile(r"[^/\\\0,.][^/\\\0,]{0,79}")

# Seeds of a recipe are below.
_SEEDS = 2**63

S = TypeVar("S", bound=Struct)


class _File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A study file; `recipe` null is that of the base model's family, `baseline` null the first row, and `claimed`
    says protocol and source for the claims of all rows that do not say their own.
    """

    title: str = ""
    recipe: str | None = None
    base: dict[str, Any] = {}
    protocol: str = "coco"
    seeds: tuple[Seed, ...] = (0,)
    baseline: str | None = None
    claimed: dict[str, Any] = {}
    rows: dict[str, Any] = {}


class _FileRow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A row of a study file: recipe keys on top of the base, or of another row's."""

    set: dict[str, Any] = {}
    of: str | None = None
    group: str = ""
    note: str = ""
    claimed: dict[str, Any] = {}


@dataclass(frozen=True)
class Row:
    """One line of the study: its own changes (full keys), on top of row `of` or the base, and the whole recipe."""

    name: str
    changes: Mapping[str, Any]
    recipe: Recipe
    of: str | None = None
    group: str = ""
    note: str = ""
    claim: Claim | None = None


@dataclass(frozen=True)
class Study:
    """A study whose rows are complete recipes; `recipe` is the name of what they all start from."""

    name: str
    title: str
    recipe: str
    protocol: str
    seeds: tuple[int, ...]
    baseline: str
    rows: tuple[Row, ...]

    def row(self, name: str) -> Row:
        """The row of a name."""
        return next(row for row in self.rows if row.name == name)

    @property
    def labels(self) -> list[str]:
        """The names of the protocol's scores that have a value."""
        rules = metrics.protocol(self.protocol)
        return [rules.label(row) for row in rules.rows if rules.covers(row)]


def study_names() -> list[str]:
    """The studies that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_study(
    source: str | Path,
    data: str | None = None,
    *,
    seeds: Sequence[int] | None = None,
    protocol: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Study:
    """Read a study (the name of one in the package, or a YAML file) and make the recipe of every row.

    Parameters
    ----------
    data, seeds, protocol:
        Instead of what the file says.
    overrides:
        Recipe keys with values for all rows, which no row may change itself.

    Raises
    ------
    FineSpotError
        The study is unknown, has an unknown key, no rows or two that train the same, or a row that changes what all
        rows share.
    """
    path = _find(source)
    tree, lines = settings.read_yaml(path)
    _check_names(tree.get("rows"), path, lines)
    file = _build(_File, tree, "study key", path, lines)
    rows = {
        name: _build(_FileRow, {} if entry is None else entry, "key of a row", path, lines, f"rows.{name}.")
        for name, entry in file.rows.items()
    }
    _check_rows(file, rows, path)
    given = {**(overrides or {}), **({"data": data} if data is not None else {})}
    reader = _Reader(path, lines, _flat(given, "the command", {}))
    scored_by = file.protocol if protocol is None else protocol
    base = reader.base(file, scored_by)
    recipes = {name: reader.recipe(name, rows, base) for name in rows}
    _refuse_twins(recipes, path)
    study = Study(
        name=path.stem,
        title=file.title or path.stem,
        recipe=file.recipe or own_recipe(base.model),
        protocol=scored_by,
        seeds=file.seeds if seeds is None else tuple(seeds),
        baseline=file.baseline or next(iter(rows)),
        rows=tuple(
            Row(
                name=name,
                changes=reader.changes(name, row),
                recipe=recipes[name],
                of=row.of,
                group=row.group,
                note=row.note,
                claim=_claim(row.claimed, file.claimed, f"{path}, row '{name}'", file.protocol),
            )
            for name, row in rows.items()
        ),
    )
    apart = len(set(study.seeds)) == len(study.seeds)
    if not study.seeds or not apart or not all(0 <= seed < _SEEDS for seed in study.seeds):
        raise FineSpotError(
            f"expected seeds of 0 or more and below 2^63, each once, but got {list(study.seeds)}", where="seeds"
        )
    return study


def choose_rows(study: Study, names: Sequence[str] | None) -> list[Row]:
    """The rows of these names in the study's order; all where none is named.

    Raises
    ------
    FineSpotError
        There is no such row.
    """
    known = [row.name for row in study.rows]
    for name in names or ():
        if name not in known:
            raise unknown("row", name, known, where=study.name)
    return [row for row in study.rows if not names or row.name in names]


class _Reader:
    """Lays the layers of a study over each other: recipe, base, rows, command line."""

    def __init__(self, path: Path, lines: Mapping[str, int], given: dict[str, Any]) -> None:
        self.path, self.lines, self.given = path, lines, given
        _refuse(given, _OWN, "the command")

    def base(self, file: _File, protocol: str) -> Recipe:
        """What all rows start from."""
        metrics.protocol(protocol)
        changes = _flat(file.base, self.path, self.lines, "base.")
        _refuse(changes, _OWN, f"{self.path}, base")
        model = {**changes, **self.given}.get("model")
        start = load_recipe(file.recipe or own_recipe(model))
        return _laid(start, {**changes, "patience": 0, "val.protocol": protocol, "claimed": None}, f"{self.path}, base")

    def changes(self, name: str, row: _FileRow) -> dict[str, Any]:
        """A row's own changes by full key."""
        return _flat(row.set, self.path, self.lines, f"rows.{name}.set.")

    def recipe(self, name: str, rows: Mapping[str, _FileRow], base: Recipe) -> Recipe:
        """The recipe of a row, with the command line's keys on top."""
        recipe = base
        for one in reversed(_chain(name, rows, self.path)):
            changes, where = self.changes(one, rows[one]), f"{self.path}, row '{one}'"
            _refuse(changes, {**_SHARED, **_OWN}, where)
            for key, value in self.given.items():
                if any(_same(key, own) for own in changes):
                    raise FineSpotError(
                        f"changes {key} itself, which {key}={value} for all rows would undo",
                        where=where,
                        hint="leave this row out, or write a study of your own",
                    )
            recipe = _laid(recipe, changes, where)
        recipe = _laid(recipe, self.given, f"{self.path}, row '{name}'")
        if recipe.devices not in ("auto", 1) or recipe.strategy != "auto" or "," in recipe.device:
            raise FineSpotError("expected one device", where=f"{self.path}, row '{name}'", hint=_ONE_PROCESS)
        return msgspec.structs.replace(recipe, name="run")


def _find(source: str | Path) -> Path:
    path = Path(source)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise FineSpotError("no such study file", where=path)
        return path
    if str(source) in study_names():
        return FOLDER / f"{source}.yaml"
    raise unknown("study", str(source), study_names())


def _build(kind: type[S], tree: Any, what: str, path: Path, lines: Mapping[str, int], prefix: str = "") -> S:
    """A struct of the file; the keys below `prefix` are its own."""
    place = prefix.rstrip(".")
    if not isinstance(tree, Mapping):
        raise FineSpotError(f"expected keys with values at '{place}' but got {tree!r}", where=_line(path, lines, place))
    for key in tree:
        if key not in kind.__struct_fields__:
            raise unknown(what, str(key), kind.__struct_fields__, where=_line(path, lines, f"{prefix}{key}"))
    own = {key: lines[prefix + key] for key in tree if prefix + key in lines}
    return settings.build(kind, tree, path, own)


def _check_names(rows: Any, path: Path, lines: Mapping[str, int]) -> None:
    """Refuse row names that cannot be folders, or not beside each other on every file system."""
    seen: dict[str, str] = {}
    for name in rows if isinstance(rows, Mapping) else ():
        where = _line(path, lines, f"rows.{name}")
        if not isinstance(name, str):
            raise FineSpotError(f"expected a row name in text but got {name!r}", where=where, hint="put it in quotes")
        if not _ROW_NAME.fullmatch(name):
            raise FineSpotError(
                f"expected a row name of 1 to 80 letters, without slash and comma and not with a dot first, but got "
                f"'{name}'",
                where=where,
            )
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise FineSpotError(
                f"expected row names that differ in more than upper and lower case but got '{other}' and '{name}'",
                where=where,
                hint="both are one folder on some file systems",
            )


def _check_rows(file: _File, rows: Mapping[str, _FileRow], path: Path) -> None:
    if not rows:
        raise FineSpotError("expected rows but got none", where=path, hint="rows: {plain: {}, ...}")
    for key in file.claimed:
        if key not in _SAID:
            raise unknown("key of all claims", key, _SAID, where=f"{path}, claimed")
    if file.baseline is not None and file.baseline not in rows:
        raise unknown("row", file.baseline, rows, where=f"{path}, baseline")


def _chain(name: str, rows: Mapping[str, _FileRow], path: Path) -> list[str]:
    """A row, the row that it builds on, and so on."""
    chain = [name]
    while (before := rows[chain[-1]].of) is not None:
        where = f"{path}, row '{chain[-1]}'"
        if before not in rows:
            raise unknown("row", before, rows, where=where)
        if before in chain:
            raise FineSpotError(f"builds on itself ({' of '.join([*chain, before])})", where=where)
        chain.append(before)
    return chain


def _flat(values: Mapping[str, Any], where: object, lines: Mapping[str, int], prefix: str = "") -> dict[str, Any]:
    """Recipe keys, nested or bare, as full dotted keys."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        place = f"{where}:{lines[prefix + name]}" if f"{prefix}{name}" in lines else where
        for key, one in _leaves(str(name), value):
            found[_full_key(key, place)] = one
    return found


def _full_key(key: str, where: object) -> str:
    try:
        return settings.full_key(Recipe, key)
    except FineSpotError as error:
        raise FineSpotError(error.what, where=where, hint=error.hint) from error


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves(f"{key}.{name}", inner)
    else:
        yield key, value


def _laid(recipe: Recipe, changes: Mapping[str, Any], where: str) -> Recipe:
    """The recipe with some keys set anew."""
    try:
        return apply(msgspec.to_builtins(recipe), changes)
    except FineSpotError as error:
        raise FineSpotError(error.what, where=where, hint=error.hint) from error


def _same(one: str, other: str) -> bool:
    """Whether two dotted keys are one, or one is the section that the other is in."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _refuse(changes: Mapping[str, Any], refused: Mapping[str, str], where: str) -> None:
    for key in changes:
        for own, hint in refused.items():
            if _same(own, key) and not (key == "patience" and changes[key] == 0):
                raise FineSpotError(f"{key} cannot be set here", where=where, hint=hint)


def _refuse_twins(recipes: Mapping[str, Recipe], path: Path) -> None:
    seen: list[tuple[str, Recipe]] = []
    for name, recipe in recipes.items():
        twin = next((other for other, one in seen if one == recipe), None)
        if twin is not None:
            raise FineSpotError(f"the rows '{twin}' and '{name}' train the same recipe", where=path)
        seen.append((name, recipe))


def _claim(claimed: Mapping[str, Any], shared: Mapping[str, Any], where: str, protocol: str) -> Claim | None:
    """A row's claim, checked; `shared` is said for all rows."""
    if not claimed:
        return None
    texts = {key: value for key, value in {**shared, **claimed}.items() if key in _SAID}
    lacking = [key for key in _SAID if not isinstance(texts.get(key), str)]
    if lacking:
        raise FineSpotError(
            f"expected a {lacking[0]} in text with what is claimed",
            where=where,
            hint="write it there, or once for all rows in the study's own 'claimed'",
        )
    rules = metrics.protocol(protocol)
    known = [*(rules.label(row) for row in rules.rows), *COSTS]
    values = {key: value for key, value in claimed.items() if key not in texts}
    for key, value in values.items():
        if key not in known:
            raise unknown("claimed value", str(key), known, where=where)
        most = 100 if key not in COSTS else float("inf")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
            raise FineSpotError(f"expected {key} in percent, as printed, but got {value!r}", where=where)
    return Claim(
        scores={key: float(value) for key, value in values.items() if key not in COSTS},
        costs={key: float(value) for key, value in values.items() if key in COSTS},
        **texts,
    )


def _line(path: Path, lines: Mapping[str, int], key: str) -> object:
    return f"{path}:{lines[key]}" if key in lines else path
