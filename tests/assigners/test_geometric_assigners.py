"""ATSS, max_iou, SimD, RFLA, NWD-RKA and anchor_ratio: rules and options on small scenes, some against full tables."""

from __future__ import annotations

import pytest
import torch
from assigner_scenes import anchored, points, scene, truth

from finespot import registry
from finespot.assigners import ATSS, RFLA, AnchorRatio, Assignment, MaxIoU, NWDRanked, SimD
from finespot.assigners.groups import centered, groups_of
from finespot.assigners.rfla import field_of
from finespot.boxes.gaussian import kld, nwd, simd
from finespot.boxes.geometry import iou
from finespot.errors import FineSpotError
from finespot.structures import Candidates, Targets


def run(text: str, seed: int = 2, candidates: Candidates | None = None) -> Assignment:
    predictions, targets, where = scene(seed, 2, 12, False, candidates)
    found: Assignment = registry.make("assigner", text)(predictions, targets, where)
    return found


def differs(text: str, plain: str, candidates: Candidates | None = None) -> bool:
    one, other = run(text, candidates=candidates), run(plain, candidates=candidates)
    names = ("rows", "targets", "ignored_rows")
    return not all(torch.equal(getattr(one, name), getattr(other, name)) for name in names)


def table(targets: Targets, candidates: Candidates, sizes: torch.Tensor, similarity) -> torch.Tensor:
    """Similarities (T, N) of one picture's targets with priors of `sizes` (N, 2)."""
    priors = centered(candidates.centers.double(), sizes.double())
    return similarity(priors[None], targets.boxes[:, None].double())


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("atss(topk=3)", "atss"),
        ("atss(scale=2)", "atss"),
        ("atss(overlap=nwd)", "atss"),
        ("atss(overlap=nwd,constant=2)", "atss(overlap=nwd)"),
        ("atss(reach=true)", "atss"),
        ("max_iou(positive=0.41)", "max_iou"),
        ("max_iou(negative=0.2)", "max_iou"),
        ("max_iou(least=0.3)", "max_iou"),
        ("max_iou(own=true)", "max_iou"),
        ("max_iou(scale=2)", "max_iou"),
        ("simd(positive=0.3,least=0.9)", "simd(least=0.9)"),
        ("simd(negative=0.1)", "simd"),
        ("simd(least=0.1)", "simd"),
        ("simd(least=0.01,own=false)", "simd(least=0.01)"),
        ("simd(scale=1.5)", "simd"),
        ("simd(m=2)", "simd"),
        ("simd(n=2)", "simd"),
        ("rfla(topk=2)", "rfla"),
        ("rfla(second=6)", "rfla"),
        ("rfla(second=3,ratio=0.2)", "rfla(second=3)"),
        ("rfla(negative=0.3)", "rfla"),
        ("rfla(similarity=wd)", "rfla"),
        ("rfla(field=4)", "rfla"),
        ("rfla(fraction=0.1)", "rfla"),
        ("nwd_ranked(topk=4)", "nwd_ranked"),
        ("nwd_ranked(negative=0.6)", "nwd_ranked"),
        ("nwd_ranked(constant=40)", "nwd_ranked"),
        ("nwd_ranked(scale=5)", "nwd_ranked"),
    ],
)
def test_each_option_has_an_effect(text: str, plain: str) -> None:
    assert differs(text, plain)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("name", ["max_iou", "simd"])
def test_thresholds_against_the_full_table(name: str, own: bool, seed: int) -> None:
    predictions, targets, candidates = scene(seed, 1, 12, False, anchored())
    low = 0.0 if name == "max_iou" else 0.05
    made = MaxIoU(own=own) if name == "max_iou" else SimD(0.5, 0.4, low, own=own)
    full = table(targets, candidates, candidates.sizes, iou if name == "max_iou" else simd)
    best, owner = full.max(0)
    want = {p: int(owner[p]) for p in range(len(candidates)) if best[p] >= 0.5}
    claims: dict[int, list[tuple[float, int]]] = {}
    for t in range(12):
        top = float(full[t].max())
        for p in (full[t] >= top * (1 - 1e-9)).nonzero().squeeze(1).tolist() if top > 0 and top >= low else []:
            claims.setdefault(p, []).append((-top, t))
    for p, wishes in claims.items():
        want[p] = min(wishes)[1] if own else int(owner[p])
    found = made(predictions, targets, candidates)
    assert dict(zip(found.rows.tolist(), found.targets.tolist())) == want
    between = [p for p in range(len(candidates)) if best[p] >= 0.4 and p not in want]
    assert found.ignored_rows.tolist() == between


@pytest.mark.parametrize("seed", range(4))
def test_ranks_against_the_full_table(seed: int) -> None:
    predictions, targets, candidates = scene(seed, 1, 12)
    groups = groups_of(candidates)

    def ranked(full: torch.Tensor, count: int) -> dict[int, int]:
        want = {}
        for t in range(12):
            bound = float(full[t].topk(count).values[-1])
            want.update(dict.fromkeys((full[t] >= bound * (1 - 1e-9)).nonzero().squeeze(1).tolist(), t))
        return want

    made = NWDRanked(topk=3)
    full = table(targets, candidates, 2 * candidates.strides[:, None].expand(-1, 2), nwd_of(made))
    want, found = ranked(full, 3), made(predictions, targets, candidates)
    assert dict(zip(found.rows.tolist(), found.targets.tolist())) == want
    near = (full.amax(0) >= made.negative).nonzero().squeeze(1).tolist()
    assert found.ignored_rows.tolist() == [p for p in near if p not in want]

    field = RFLA(second=4, negative=0.3)
    sizes = field.prior_sizes(candidates, groups)[groups.of_point]
    full = table(targets, candidates, sizes, kld)
    want = ranked(full, 3)
    more = ranked(table(targets, candidates, 0.9 * sizes, kld), 4)
    want = {**more, **want}
    found = field(predictions, targets, candidates)
    assert dict(zip(found.rows.tolist(), found.targets.tolist())) == want
    near = (full.amax(0) >= 0.3).nonzero().squeeze(1).tolist()
    assert found.ignored_rows.tolist() == [p for p in near if p not in want]


def nwd_of(made: NWDRanked):
    return lambda a, b: nwd(a, b, made.constant)


def test_atss_takes_points_inside_above_the_mean_and_deviation() -> None:
    predictions, _, candidates = scene(0, 1, 1)
    found = ATSS(topk=4, scale=3)(predictions, truth([[24.0, 24, 48, 48]]), candidates)
    # Priors of 24 pixels at stride 8 fit exactly at (36, 36) alone.
    assert candidates.centers[found.rows].tolist() == [[36, 36]]
    assert candidates.strides[found.rows].tolist() == [8]


def test_atss_reaches_tiny_targets_between_centers() -> None:
    predictions, _, candidates = scene(0, 1, 1)
    target = truth([[39.0, 31, 41, 33]])
    assert ATSS()(predictions, target, candidates).positives.tolist() == [0]
    for overlap in ("iou", "nwd"):
        assert int(ATSS(scale=1, overlap=overlap, reach=True)(predictions, target, candidates).positives) > 0


def test_an_anchor_without_overlap_is_nobodys_best() -> None:
    predictions, _, candidates = scene(0, 1, 1)
    found = MaxIoU(positive=0, negative=0)(predictions, truth([[500.0, 500, 510, 510]]), candidates)
    assert len(found.rows) == len(found.ignored_rows) == 0


def test_max_iou_keeps_all_ties_of_a_targets_best_anchor() -> None:
    predictions, _, candidates = scene(0, 1, 1, False, points((16,)))
    found = MaxIoU(scale=1)(predictions, truth([[12.0, 12, 20, 20]]), candidates)
    # Its center is the corner of four cells.
    assert candidates.centers[found.rows].tolist() == [[8, 8], [24, 8], [8, 24], [24, 24]]


def test_receptive_fields_follow_the_stride() -> None:
    assert [field_of(stride) for stride in (4, 8, 16, 32, 64, 128)] == [35, 91, 267, 427, 555, 811]
    assert field_of(2) == 17.5
    assert field_of(256) == 1622
    candidates = points((4, 8, 16, 32))
    assert RFLA(field=3).prior_sizes(candidates, groups_of(candidates))[:, 0].tolist() == [6, 12, 24, 48]


def test_the_later_of_two_equal_targets_has_the_points() -> None:
    predictions, _, candidates = scene(0, 1, 1)
    twins = truth([[20.0, 20, 30, 30]] * 2)
    for made in (RFLA(), NWDRanked()):
        assert set(made(predictions, twins, candidates).targets.tolist()) == {1}


def test_anchor_ratio_needs_anchors() -> None:
    predictions, targets, candidates = scene(0)
    with pytest.raises(FineSpotError, match="assigner: 'anchor_ratio' needs a head with anchors on every cell"):
        AnchorRatio()(predictions, targets, candidates)


def test_anchor_ratio_matches_sizes_and_the_nearer_cells() -> None:
    candidates = anchored((8, 16))  # 16 x 16, 24 x 12; 32 x 32, 48 x 24
    predictions, _, _ = scene(0, 1, 1, False, candidates)
    # Center (33, 45): cell (4, 5) at stride 8, nearer to its left and lower neighbor.
    target = truth([[29.0, 41, 37, 49]])
    assert AnchorRatio(ratio=1.5)(predictions, target, candidates).positives.tolist() == [0]
    found = AnchorRatio(ratio=2.5)(predictions, target, candidates)
    assert candidates.centers[found.rows].tolist() == [[28, 44], [36, 44], [36, 52]]
    assert len(AnchorRatio(ratio=9)(predictions, target, candidates).rows) == 12


def test_anchor_ratio_lets_targets_share_a_point() -> None:
    candidates = anchored((8,))
    predictions, _, _ = scene(0, 1, 1, False, candidates)
    found = AnchorRatio()(predictions, truth([[28.0, 40, 38, 50], [27, 39, 39, 51]]), candidates)
    assert found.positives.tolist() == [6, 6]
    assert found.rows.tolist() == sorted(found.rows.tolist())
    assert len(set(found.rows.tolist())) == 6
