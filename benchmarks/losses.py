"""How each box loss sees a prediction that is one pixel off: the table of docs/losses.md.

    python -m benchmarks.losses [LOSS ...] [--json FILE]

A square truth of the given side, and a prediction of equal size shifted by 1 px in x; last, one of 3 px that lies 4 px
away from the truth. A cell is the loss / its derivative by a shift of the prediction in x, per pixel: positive pulls it
to the truth, negative pushes it away. float64; the input is 800 x 800; running means are at their start.
"""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.report import arguments, publish, table
from finespot.losses import box_loss

SIDES = (3, 8, 16, 32, 64, 256)
AWAY = "3 px, 4 px away"
LOSSES = (
    *("iou", "iou2", "giou", "diou", "ciou", "eiou", "siou", "shape", "mpd", "inner", "focaler", "wise_v1", "wise_v3"),
    *("powerful_v1", "powerful_v2", "powerful_v2(detach_q=false)", "nwd", "safit", "gcd", "kld", "dotd", "simd"),
    *("sal(range=fixed)", "ciou*0.5+nwd*0.5"),
)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument(
        "losses", nargs="*", default=list(LOSSES), metavar="LOSS", help="losses or blends (default: all)"
    )
    options = parser.parse_args()
    pairs = {f"{side} px": (side, 1) for side in SIDES} | {AWAY: (3, 7)}
    figures = {text: {name: measure(text, *pair) for name, pair in pairs.items()} for text in options.losses}
    cells = [
        [f"`{text}`", *(f"{loss:.4f} / {pull:.4f}" for loss, pull in row.values())] for text, row in figures.items()
    ]
    print(table(["box loss", *pairs], cells))
    print()
    publish({"benchmark": "losses", "loss_and_pull": figures}, options.json)


def measure(text: str, side: float, shift: float) -> tuple[float, float]:
    """Loss and derivative of a square of `side` pixels that is `shift` pixels off."""
    loss = box_loss(text)
    if isinstance(loss, nn.Module):
        loss.eval()
    target = torch.tensor([[100.0, 100, 100 + side, 100 + side]], dtype=torch.float64)
    pred = (target + torch.tensor([shift, 0, shift, 0])).requires_grad_()
    value = loss(pred, target, stride=torch.full((1,), 8.0), image_size=(800, 800)).sum()
    value.backward()
    assert pred.grad is not None
    # 0 is added so that no minus stands before a zero.
    return value.item(), round(pred.grad[0, 0].item() + pred.grad[0, 2].item(), 9) + 0.0


if __name__ == "__main__":
    main()
