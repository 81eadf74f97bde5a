"""`--slice` and its companions, and SAHI's names for them: each reaches what it stands for."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_factory import Run

from finespot.cli import options, sahi
from finespot.cli.words import expand
from finespot.errors import FineSpotError
from finespot.inference import model as prediction
from finespot.structures import Tiling

OWN = Tiling(320, 0.3, whole=True, merge="nmm", metric="ios")


class Flag:
    """An option of a command as `translate` asks for it."""

    def __init__(self, is_flag: bool = False) -> None:
        self.is_flag = is_flag


VERB = {
    name: Flag() for name in ("--slice", "--slice-overlap", "--overlap", "--merge", "--merge-metric", "--iou", "--name")
}


@pytest.fixture
def asked(run: Run, tiny: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What a prediction with some words is asked for: the tiling and the threshold."""
    seen = []

    def walk(session, entries, settings, timing):
        seen.append((settings.scaling.tiling, settings.iou))
        return iter(())

    monkeypatch.setattr(prediction, "walk", walk)

    def call(*words: str) -> tuple[Tiling | None, float]:
        code, _, said = run("predict", tiny, dataset / "images", "--project", tmp_path / "runs", *words)
        assert code == 2, said  # no picture comes
        assert said == ""
        return seen.pop()

    return call


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "tiling"),
    [
        ("", None),
        ("--slice 64", Tiling(64)),
        ("--slice 64 --slice-overlap 0.5", Tiling(64, 0.5)),
        ("--slice 64 --overlap 16", Tiling(64, 16)),
        ("slice=64 slice_overlap=16", Tiling(64, 16)),
        ("--slice 64 --slice-whole", Tiling(64, whole=True)),
        ("slice=64 slice_whole=true", Tiling(64, whole=True)),
        ("--slice 64 --merge nmm", Tiling(64, merge="nmm")),
        ("--slice 64 --merge nmm --merge-metric ios", Tiling(64, merge="nmm", metric="ios")),
        ("--slice-height 64", Tiling(64)),
        ("--slice-height 64 --slice-width 64", Tiling(64)),
        ("slice_width=64", Tiling(64)),
        ("--slice_height=64", Tiling(64)),
        ("--slice-height 64 --overlap-height-ratio 0.5", Tiling(64, 0.5)),
        ("--slice 64 --overlap-width-ratio 0.4 overlap_height_ratio=0.4", Tiling(64, 0.4)),
        ("--slice 64 --postprocess-type NMS", Tiling(64, merge="greedy")),
        ("--slice 64 --postprocess-type LSNMS", Tiling(64, merge="greedy")),
        ("--slice 64 --postprocess-type GREEDYNMM", Tiling(64, merge="nmm")),
        ("--slice 64 --postprocess-type nmm", Tiling(64, merge="nmm(transitive=true)")),
        ("--slice 64 --postprocess-type NMS --postprocess-match-metric IOS", Tiling(64, merge="greedy", metric="ios")),
        ("--slice 64 --merge soft --postprocess-match-metric IOU", Tiling(64, merge="soft", metric="iou")),
        ("--slice 64 --postprocess-class-agnostic", Tiling(64, merge="nmm(agnostic=true)")),
        (
            "--slice 64 --postprocess-type NMS --postprocess-class-agnostic True",
            Tiling(64, merge="greedy(agnostic=true)"),
        ),
        ("--slice 64 --postprocess-type NMS --postprocess-class-agnostic=false", Tiling(64, merge="greedy")),
        (
            "--slice 64 --postprocess-type NMM --postprocess-class-agnostic",
            Tiling(64, merge="nmm(transitive=true, agnostic=true)"),
        ),
    ],
)
def test_what_words_ask_for(asked, words: str, tiling: Tiling | None) -> None:
    assert asked(*words.split()) == (tiling, 0.7)


@pytest.mark.slow
def test_the_threshold_of_matches(asked) -> None:
    assert asked("--postprocess-match-threshold", "0.4") == (None, 0.4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--slice-height 64 --slice-width 96", "slice-width: expected the same as slice-height, as tiles are square"),
        ("--overlap-height-ratio 0.1 --overlap-width-ratio 0.2", "overlap-width-ratio: expected the same"),
        (
            "--slice 64 --slice-height 64",
            "slice-height: means the same as --slice, which is given too; give one of them",
        ),
        ("slice=64 slice_width=64", "slice-width: means the same as --slice"),
        (
            "--slice 64 --overlap 0.2 --overlap-width-ratio 0.2",
            "overlap-width-ratio: means the same as --slice-overlap",
        ),
        ("--merge nmm --postprocess-type NMM", "postprocess-type: means the same as --merge"),
        ("--merge nmm --postprocess-class-agnostic", "postprocess-class-agnostic: means the same as --merge"),
        ("--merge-metric ios --postprocess-match-metric IOS", "postprocess-match-metric: means the same as"),
        ("--iou 0.5 --postprocess-match-threshold 0.5", "postprocess-match-threshold: means the same as --iou"),
        ("--slice-height 64 --slice-height 64", "slice-height: is given twice"),
        ("--slice-height", "slice-height: expected a value but got none"),
        ("--postprocess-type NMX", "postprocess-type: unknown type 'NMX'; did you mean NMS"),
        ("--postprocess-match-metric GIOU", "postprocess-match-metric: unknown match metric 'GIOU'"),
        ("--postprocess-class-agnostic=maybe", "postprocess-class-agnostic: expected true or false but got 'maybe'"),
        ("--merge nmm", "merge: has no effect on whole pictures; give --slice too"),
        ("--slice-whole", "slice-whole: has no effect on whole pictures"),
        ("--slice 0 --slice-overlap 0.3", "overlap: has no effect on whole pictures"),
        ("--slice 64 --merge-metric ios", "merge-metric: has no effect without an operator; give merge too"),
        ("--slice 64 --merge nmmm", "unknown nms 'nmmm'; did you mean nmm"),
        ("--slice 64 --slice-overlap 64", "overlap: expected an overlap from 0 to below 1, or pixels below 64"),
    ],
)
def test_what_is_refused(run: Run, tiny: Path, dataset: Path, words: str, said: str) -> None:
    code, _, printed = run("predict", tiny, dataset / "images", *words.split())
    assert code == 2
    assert said in printed
    assert printed.count("\n") == 1


def test_a_value_is_no_name_and_other_words_stay() -> None:
    words = ["a.jpg", "--name", "slice_height=3", "slice_width", "--slice-whole"]
    assert sahi.translate(words, VERB) == words


def test_verbs_that_cut_nothing_know_none_of_these_names() -> None:
    with pytest.raises(FineSpotError, match="slice_height"):
        expand(["slice_height=64"], [], "models")


@pytest.mark.parametrize(
    ("given", "tiling"),
    [
        ({}, None),
        ({"size": 64}, Tiling(64, 0.3, whole=True, merge="nmm", metric="ios")),
        ({"size": 0}, Tiling(None)),
        ({"overlap": 0.1}, Tiling(320, 0.1, whole=True, merge="nmm", metric="ios")),
        ({"whole": False}, Tiling(320, 0.3, merge="nmm", metric="ios")),
        ({"merge": "greedy"}, Tiling(320, 0.3, whole=True, merge="greedy")),
        ({"metric": "iou"}, Tiling(320, 0.3, whole=True, merge="nmm", metric="iou")),
    ],
)
def test_what_is_left_out_is_the_weights_own(given, tiling) -> None:
    named = {name: given.pop(name, None) for name in ("size", "overlap")}
    assert options.tiling(named["size"], named["overlap"], OWN, **given) == tiling
