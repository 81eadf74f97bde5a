"""Weight files of seekers: round trip, what is stored, and every way in which a file can be wrong."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from finespot import weights
from finespot.errors import FineSpotError
from finespot.nn.seeker import SeekerNet
from finespot.weights import SeekerCalibration, SeekerCard, SizeReach

FOUND = SeekerCalibration(
    threshold=0.125,
    target=0.99,
    recall=0.995,
    margin=32,
    hot=0.25,
    objects=200,
    pictures=7,
    sizes=[
        SizeReach(label="tiny", low=0, high=16, objects=50, reached=49),
        SizeReach(label="large", low=16, high=None, objects=150, reached=150),
    ],
    data="d",
    split="val",
)


@pytest.fixture
def network() -> SeekerNet:
    torch.manual_seed(0)
    return SeekerNet(stride=4, width=8).eval()


@pytest.fixture
def card() -> SeekerCard:
    return SeekerCard(
        reduction=2, stride=4, width=8, calibration=FOUND, data_licence="CC", provenance={"epochs": 3, "seed": 0}
    )


@pytest.fixture
def saved(network: SeekerNet, card: SeekerCard, tmp_path: Path) -> Path:
    return weights.save_seeker(tmp_path / "s.safetensors", network, card)


def one_line(error: pytest.ExceptionInfo[FineSpotError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def test_round_trip(network: SeekerNet, card: SeekerCard, tmp_path: Path) -> None:
    path = weights.save_seeker(tmp_path / "s.safetensors", network, card, half=False)
    again, read = weights.read_seeker(path)
    assert read == card == weights.read_seeker_card(path)
    assert (again.stride, again.width, again.training) == (4, 8, False)
    state = again.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert read.cell == 8
    assert read.calibration is not None
    assert read.calibration.lost == pytest.approx(0.005)


def test_halves_are_stored_for_convolutions_only(network: SeekerNet, card: SeekerCard, saved: Path) -> None:
    whole = weights.save_seeker(saved.with_name("whole.safetensors"), network, card, half=False)
    assert saved.stat().st_size < 0.8 * whole.stat().st_size
    assert {one.dtype for one in load_file(saved).values()} == {torch.float16, torch.float32, torch.int64}
    again, _ = weights.read_seeker(saved)
    pictures = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(again(pictures), network(pictures), atol=1e-2, rtol=1e-2)


def test_neither_kind_is_taken_for_the_other(saved: Path) -> None:
    assert weights.is_seeker(saved)
    for read in (weights.load, weights.read_card):
        with pytest.raises(
            FineSpotError, match=r"expected a detector but it holds a seeker; .* --seeker FILE"
        ) as error:
            read(saved)
        assert one_line(error).startswith(str(saved))
    path = weights.resolve("hit-uav-n")
    assert not weights.is_seeker(path)
    for read in (weights.read_seeker, weights.read_seeker_card):
        with pytest.raises(FineSpotError, match=r"expected a seeker but it holds a detector; .* finespot train seeker"):
            read(path)


def test_a_card_of_another_network_is_refused(network: SeekerNet, card: SeekerCard, tmp_path: Path) -> None:
    with pytest.raises(FineSpotError, match="the card of this seeker"):
        weights.save_seeker(tmp_path / "s.safetensors", network, msgspec.structs.replace(card, width=16))
    with torch.no_grad():
        next(network.parameters())[0] = torch.nan
    with pytest.raises(FineSpotError, match="holds NaN or infinity; nothing was written"):
        weights.save_seeker(tmp_path / "s.safetensors", network, card)
    assert not list(tmp_path.iterdir())


def rewritten(path: Path, **changes: object) -> Path:
    """The file with another description."""
    text = json.loads(weights.read_seeker_card(path).to_json())
    calibration = changes.pop("found", None)
    if calibration is not None:
        text["calibration"].update(calibration)
    save_file(load_file(path), path, {"finespot": json.dumps({**text, **changes})})
    return path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format_version": 99}, "format version 1 or older but got 99"),
        ({"kind": "tracker"}, "expected a seeker but it holds a tracker"),
        ({"reduction": 0}, "expected a reduction from 1 to 64 but got 0"),
        ({"reduction": "four"}, "cannot be read"),
        ({"width": 10**9}, "seeker.width: expected a multiple of 4 from 4 to 28"),
        ({"width": 12}, "expected shape"),
        ({"stride": 16}, "expected 4 or 8 but got 16"),
        ({"stride": 8}, "tensors are absent"),
        ({"found": {"threshold": 1.5}}, "a threshold and shares from 0 to 1"),
        ({"found": {"recall": -0.1}}, "a threshold and shares from 0 to 1"),
        ({"found": {"sizes": None}}, "cannot be read"),
    ],
)
def test_wrong_descriptions_are_refused(saved: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(FineSpotError, match=words) as error:
        weights.read_seeker(rewritten(saved, **changes))
    assert str(saved) in one_line(error)


def test_wrong_tensors_are_refused(saved: Path) -> None:
    text = {"finespot": weights.read_seeker_card(saved).to_json()}
    tensors = load_file(saved)
    name = "predict.weight"
    for changed, words in (
        ({key: value for key, value in tensors.items() if key != name}, "absent"),
        ({**tensors, "more": torch.zeros(1)}, "1 tensors have no place"),
        ({**tensors, name: tensors[name].to(torch.float32) * torch.nan}, "NaN or infinity"),
    ):
        save_file(changed, saved, text)
        with pytest.raises(FineSpotError, match=words):
            weights.read_seeker(saved)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_files_are_refused_in_one_line(saved: Path, data: st.DataObject) -> None:
    content = saved.read_bytes()
    damaged = saved.with_name("damaged.safetensors")
    damaged.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(FineSpotError) as error:
        weights.read_seeker(damaged)
    one_line(error)
