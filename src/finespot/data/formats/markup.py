"""XML files without the traps of XML: no document types, so no entities that expand or point elsewhere."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from finespot.data.formats.text import real
from finespot.errors import FineSpotError

Element = ElementTree.Element


def read_xml(file: Path, root: str) -> Element:
    """The root element of a file, which must be called `root`.

    Raises
    ------
    FineSpotError
        The file cannot be read, is no well-formed XML, holds a document type, or has another root.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise FineSpotError(f"cannot be read ({error.strerror})", where=file) from error
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = lambda tag, attributes: builder.start(tag, attributes)
    parser.EndElementHandler = lambda tag: builder.end(tag)
    parser.CharacterDataHandler = lambda text: builder.data(text)

    def refuse(*_: object) -> None:
        raise FineSpotError(
            "expected XML without a document type (DOCTYPE)", where=f"{file}:{parser.CurrentLineNumber}"
        )

    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        line = getattr(error, "lineno", 1)
        raise FineSpotError(f"the XML cannot be read ({error})", where=f"{file}:{line}") from error
    found = builder.close()
    if found.tag != root:
        raise FineSpotError(f"expected the root element <{root}> but got <{found.tag}>", where=file)
    return found


def text_of(element: Element, path: str, where: object) -> str:
    """The text of a child, stripped; FineSpotError where there is no such child or no text in it."""
    text = (element.findtext(path) or "").strip()
    if not text:
        raise FineSpotError(f"expected <{path}> in <{element.tag}> but got none", where=where)
    return text


def number_of(element: Element, path: str, where: object) -> float:
    """The finite number in a child."""
    return real(text_of(element, path, where), path, where)
