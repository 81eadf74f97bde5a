"""`finespot weights dump`: weights under the names of the toolkit that their family comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from finespot.cli import options


def command(
    weights: Annotated[str, typer.Argument(help="a weight file, or a name from `finespot models`")],
    out: Annotated[Path, typer.Argument(help="the state dict to write: .pt, .pth or .safetensors")],
    layout: Annotated[
        str | None,
        typer.Option("--layout", help="the naming, where a family has several", rich_help_panel=options.RUN),
    ] = None,
    own_parts: options.OwnParts = False,
    overwrite: options.OverwriteFiles = False,
) -> None:
    """Write a plain state dict with the original's key names, for use outside FineSpot."""
    import io

    import torch
    from safetensors.torch import save as to_bytes

    from finespot.cli.terminal import console
    from finespot.errors import FineSpotError
    from finespot.weights.foreign.convert import dump
    from finespot.writers import write_atomic

    options.check_outputs(out, overwrite=overwrite, inputs=[weights])
    state = dump(weights, layout, own_parts=own_parts)
    if out.suffix == ".safetensors":
        content = to_bytes({name: tensor.contiguous() for name, tensor in state.items()})
    elif out.suffix in (".pt", ".pth"):
        stream = io.BytesIO()
        torch.save(state, stream)
        content = stream.getvalue()
    else:
        raise FineSpotError("expected a name that ends in .pt, .pth or .safetensors", where=out)
    write_atomic(out, content)
    console().print(f"wrote {out}: {len(state)} tensors, float32")
