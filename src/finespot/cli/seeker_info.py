"""What `finespot info` and `finespot models` say of a seeker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finespot.weights import SeekerCard


def lines(model: str) -> list[str]:
    """A seeker in words: what it is, how to use it, what its threshold reaches, where it comes from."""
    from finespot.inference import reach_lines
    from finespot.weights import read_seeker

    network, card = read_seeker(model)
    said = [
        f"a seeker: it says where a detector is to look (finespot predict DETECTOR SOURCE --seeker {model})",
        f"parameters: {_parameters(network):,}",
        f"reads pictures reduced {card.reduction} times, cells of {card.cell} x {card.cell} px",
    ]
    if card.calibration is None:
        said.append("not calibrated: finespot weights calibrate chooses its threshold")
    else:
        said += reach_lines(card.calibration)
    return said + ([f"licence of the training data: {card.data_licence}"] if card.data_licence else [])


def report(model: str) -> dict[str, Any]:
    """The same as plain values."""
    import msgspec

    from finespot.weights import read_seeker

    network, card = read_seeker(model)
    return {"name": "seeker", "parameters": _parameters(network), "cell": card.cell, **msgspec.to_builtins(card)}


def table(cards: dict[str, SeekerCard]) -> Any:
    """The seekers that come with the package."""
    from finespot.writers.table import ResultTable

    texts = ("name", "measured", "licence of the training data")
    found = ResultTable(
        texts, ("cell",), title="seekers in the package ('finespot predict DETECTOR SOURCE --seeker NAME')"
    )
    for name, card in cards.items():
        one = card.calibration
        measured = (
            ""
            if one is None
            else (f"recall {one.recall:.3f} with {one.hot:.3f} of the area hot ({one.data} {one.split})")
        )
        found.row(name, measured, card.data_licence, f"{card.cell} px")
    return found


def _parameters(network: Any) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
