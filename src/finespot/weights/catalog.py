"""Which file a name means: a path, or one of the weights that come with the package."""

from __future__ import annotations

from pathlib import Path

from finespot import zoo
from finespot.errors import FineSpotError, nearest, unknown

FOLDER = Path(__file__).parent / "bundled"
SUFFIX = ".safetensors"
# What a training writes into the folder `weights` of its run.
TRAINED = (f"best{SUFFIX}", f"last{SUFFIX}")


def bundled() -> list[str]:
    """Names of the weights that come with the package, sorted."""
    return sorted(path.name.removesuffix(SUFFIX) for path in FOLDER.glob(f"*{SUFFIX}"))


def resolve(name_or_path: str | Path) -> Path:
    """The weight file of a path or a bundled name; a file of the working folder goes before a bundled name.

    Raises
    ------
    FineSpotError
        There is no such file and no such name; the nearest names are offered.
    """
    text = str(name_or_path)
    if not text.strip():
        raise FineSpotError("expected a weight file or a name but got an empty text", where="weights")
    path = Path(text).expanduser()
    if path.is_file():
        return path
    names = bundled()
    name = text.removesuffix(SUFFIX)
    if name in names:
        return FOLDER / f"{name}{SUFFIX}"
    if path.is_dir():
        raise FineSpotError("expected a weight file but got a folder", where=text)
    if path.parent != Path() or path.suffix:
        near = [other.name for other in path.parent.glob(f"*{SUFFIX}")] if path.parent.is_dir() else []
        offer = [str(path.parent / one) for one in nearest(path.name, near)] if near else names[:3]
        hint = f"did you mean {', '.join(offer)}?" if offer else None
        run = path.parent.parent.name
        if run and path.parent.name == "weights" and path.name in TRAINED and not near:
            hint = f"the training '{run}' writes it; give others, if that was elsewhere"
        raise FineSpotError("expected a weight file but there is none", where=text, hint=hint)
    if zoo.is_name(text):
        raise FineSpotError(
            f"expected weights but '{text}' is an architecture, which has to be trained first",
            where="weights",
            hint=f"weights in the package: {', '.join(names)}",
        )
    raise unknown("weights", text, names)
