"""What `finespot score` tells beside the numbers: each option, what it prints, keeps in the file and draws."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_factory import Run, refused

GOLDEN = Path(__file__).parents[1] / "metrics" / "data" / "coco"
PLOTS = {"pr_curves", "confusion", "confidence", "calibration", "errors", "size"}


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, ...]:
    return "--gt", str(GOLDEN / "gt.json"), "--dt", str(GOLDEN / "dt.json"), "--json", str(tmp_path / "out.json")


@pytest.fixture
def fewer(tmp_path: Path) -> Path:
    """Detections of which every third is left out."""
    found = json.loads((GOLDEN / "dt.json").read_text())
    path = tmp_path / "fewer.json"
    path.write_text(json.dumps([one for k, one in enumerate(found) if k % 3]))
    return path


def told(run: Run, files: tuple[str, ...], *words: str | Path) -> tuple[dict, str]:
    code, out, error = run("score", *files, *words)
    assert (code, error) == (0, "")
    return json.loads(Path(files[-1]).read_text()), out


def test_nothing_is_told_that_was_not_asked_for(run: Run, files: tuple[str, ...]) -> None:
    made, out = told(run, files)
    assert not made.keys() & {"errors", "thresholds", "intervals", "comparison"}
    assert "TIDE" not in out


def test_errors_by_kind_and_size(run: Run, files: tuple[str, ...]) -> None:
    made, out = told(run, files, "--errors")
    assert "Miss" in out
    assert "8-16 px" in out
    assert sum(made["errors"]["counts"].values()) > 0


def test_errors_in_sizes_of_ones_own(run: Run, files: tuple[str, ...]) -> None:
    _, out = told(run, files, "--errors", "--sizes", "10,40")
    assert "10-40 px" in out
    assert "8-16 px" not in out


def test_thresholds_by_class(run: Run, files: tuple[str, ...]) -> None:
    made, out = told(run, files, "--thresholds")
    assert made["thresholds"]["per_class"]["car"]["f1"] == pytest.approx(0.768, abs=1e-3)
    assert made["thresholds"]["per_class"]["bike"] is None
    assert "ECE" in out


def test_intervals(run: Run, files: tuple[str, ...]) -> None:
    made, out = told(run, files, "--bootstrap", "50")
    value, low, high = made["intervals"]["values"]["AP"]
    assert value == made["values"]["AP"]
    assert low < value < high
    assert "from 50 resamples" in out


def test_a_protocol_that_cannot_be_drawn_gives_way_to_its_clean_form(run: Run, files: tuple[str, ...]) -> None:
    made, out = told(run, files, "--protocol", "dota-hbb", "--bootstrap", "20")
    assert made["protocol"] == "dota-hbb"
    assert made["intervals"]["protocol"] == "dota-hbb (clean)"
    assert "dota-hbb (clean): 95 % intervals" in out


@pytest.mark.slow
def test_against_other_detections(run: Run, files: tuple[str, ...], fewer: Path) -> None:
    made, out = told(run, files, "--against", fewer, "--bootstrap", "50")
    compared = made["comparison"]
    assert compared["names"] == ["fewer", "dt"]
    assert compared["resamples"] == 50
    assert compared["values"]["AP"]["value"] > 0
    assert compared["verdict"] in out
    assert compared["found"]["all"]["only_b"] > compared["found"]["all"]["only_a"]


def test_classes_are_chosen_on_both_sides(run: Run, files: tuple[str, ...], fewer: Path) -> None:
    made, _ = told(run, files, "--against", fewer, "--bootstrap", "20", "--classes", "car,van")
    assert set(made["comparison"]["per_class"]) == {"car", "van"}


@pytest.mark.slow
def test_plots_and_page(run: Run, files: tuple[str, ...], fewer: Path, tmp_path: Path) -> None:
    words = ("--plots", tmp_path / "plots", "--html", tmp_path / "page.html", "--bootstrap", "20")
    _, out = told(run, files, *words, "--against", fewer)
    assert {path.stem for path in (tmp_path / "plots").iterdir()} == {*PLOTS, "comparison"}
    page = (tmp_path / "page.html").read_text()
    assert "what each kind of error costs" in page
    assert "is better by" in page
    assert "wrote" in out
    # Kept without --overwrite; also a page that is input.
    files = files[:-2]
    refused(run("score", *files, *words[:2]), "pr_curves.png")
    refused(run("score", *files, *words[2:4]), "page.html")
    refused(run("score", *files, "--html", GOLDEN / "gt.json", "--overwrite"), "is input of this command")


@pytest.mark.slow
def test_the_page_shows_pictures_of_the_folder(run: Run, tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "pictures" / "a.png")
    truth = {
        "images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 64}],
        "categories": [{"id": 1, "name": "car"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 5, 20, 20], "area": 400, "iscrowd": 0}],
    }
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    (tmp_path / "dt.json").write_text(
        json.dumps([{"image_id": 1, "category_id": 1, "bbox": [40, 40, 9, 9], "score": 1}])
    )
    words = ("--gt", tmp_path / "gt.json", "--dt", tmp_path / "dt.json", "--html")
    assert run("score", *words, tmp_path / "without.html")[0] == 0
    assert run("score", *words, tmp_path / "with.html", "--images", tmp_path / "pictures")[0] == 0
    without, shown = ((tmp_path / f"{name}.html").read_text() for name in ("without", "with"))
    assert shown.count("<img") > without.count("<img")


def test_detections_against_themselves_need_two_names(run: Run, files: tuple[str, ...]) -> None:
    refused(run("score", *files, "--against", GOLDEN / "dt.json"), "is the file of --dt itself")


def test_impossible_numbers(run: Run, files: tuple[str, ...]) -> None:
    code, out, error = run("score", *files, "--bootstrap", "0")
    assert (code, out) == (2, "")
    assert "bootstrap" in error


@pytest.mark.slow
def test_val_tells_the_same(tiny: Path, dataset: Path, tmp_path: Path, run: Run) -> None:
    words = ["val", tiny, "--data", f"coco:{dataset}", "--no-plots", "--project", tmp_path / "val", "--overwrite"]
    asked = ["--errors", "--thresholds", "--bootstrap", "20", "--coverage", "--html", tmp_path / "page.html"]
    code, out, error = run(*words, *asked, "--slice", "32")
    assert (code, error) == (0, "")
    made = json.loads((tmp_path / "val" / "run" / "report.json").read_text())
    assert made.keys() >= {"errors", "thresholds", "intervals", "coverage"}
    assert made["coverage"]["windows"] == 2 * 2 * 3
    assert "BPR center" in out
    assert "<img" in (tmp_path / "page.html").read_text()
    code, _, error = run(*words)
    assert (code, error) == (0, "")
    assert not json.loads((tmp_path / "val" / "run" / "report.json").read_text()).keys() & {"errors", "coverage"}
    refused(run(*words[:-1], "--name", "other", "--html", tmp_path / "page.html"), "page.html")


@pytest.mark.slow
def test_val_draws_into_its_run(tiny: Path, dataset: Path, tmp_path: Path, run: Run) -> None:
    assert run("val", tiny, "--data", f"coco:{dataset}", "--project", tmp_path / "val")[0] == 0
    assert {path.stem for path in (tmp_path / "val" / "run").glob("*.png")} == PLOTS


@pytest.mark.slow
def test_val_merges_tiles_as_it_is_told(tiny: Path, dataset: Path, tmp_path: Path, run: Run) -> None:
    words = [
        "val",
        tiny,
        "--data",
        f"coco:{dataset}",
        "--no-plots",
        "--project",
        tmp_path,
        "--overwrite",
        "--slice",
        "32",
    ]

    def report() -> dict:
        return json.loads((tmp_path / "run" / "report.json").read_text())

    code, out, error = run(*words, "--merge", "nmm", "--merge-metric", "ios", "--slice-whole", "--merge-sweep")
    assert (code, error) == (0, "")
    tiling = report()["settings"]["tiling"]
    assert (tiling["merge"], tiling["metric"], tiling["whole"]) == ("nmm", "ios", True)
    assert {row["merge"] for row in report()["merge_sweep"]["rows"]} >= {"greedy", "nmm"}
    assert "merge sweep" in out
    refused(run(*words[:-2], "--merge-sweep"), "merge-sweep", "give --slice")


@pytest.mark.slow
@pytest.mark.parametrize(
    "limit", [("--seeker", "hit-uav-seeker"), ("--max-tiles", "3"), ("--budget-ms", "9"), ("--uniform-above", "0.5")]
)
def test_a_sweep_takes_all_tiles(limit: tuple[str, str], tiny: Path, dataset: Path, run: Run) -> None:
    words = ["val", tiny, "--data", f"coco:{dataset}", "--slice", "32", "--merge-sweep", *limit]
    refused(run(*words), f"merge-sweep: merges all tiles, so {limit[0]} has no effect")


@pytest.mark.slow
def test_errors_are_those_of_the_protocol(run: Run, tmp_path: Path) -> None:
    # UAVDT takes all classes for one, so no class can be wrong; SODA-D ignores what is flagged.
    one = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20], "area": 400, "iscrowd": 0}
    two = {**one, "id": 2, "bbox": [60, 60, 20, 20], "ignore": 1}
    truth = {
        "images": [{"id": 1}],
        "categories": [{"id": k, "name": f"c{k}"} for k in (1, 2)],
        "annotations": [one, two],
    }
    found = [{"image_id": 1, "category_id": 2, "bbox": [10, 10, 20, 20], "score": 7.5}]
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    (tmp_path / "dt.json").write_text(json.dumps(found))
    files = ("--gt", str(tmp_path / "gt.json"), "--dt", str(tmp_path / "dt.json"), "--json", str(tmp_path / "out.json"))

    def counts(protocol: str) -> dict[str, int]:
        made, out = told(run, files, "--errors", "--thresholds", "--protocol", protocol, "--overwrite")
        assert "scores are not all from 0 to 1" in out
        return made["errors"]["counts"]

    assert (counts("coco")["Cls"], counts("coco")["Miss"]) == (1, 1)
    assert counts("uavdt")["Cls"] == 0
    assert (counts("soda-d")["Cls"], counts("soda-d")["Miss"]) == (1, 0)


def test_the_limit_of_errors(run: Run, files: tuple[str, ...]) -> None:
    usual, _ = told(run, files, "--errors")
    more, out = told(run, files, "--errors", "--max-dets", "1,10,1000", "--overwrite")
    assert sum(more["errors"]["counts"].values()) > sum(usual["errors"]["counts"].values())
    assert "at most 1000 detections per image" in out


def test_what_cannot_be_told_is_refused_before(run: Run, files: tuple[str, ...], tmp_path: Path) -> None:
    refused(run("score", *files, "--html", tmp_path / "p.html", "--images", tmp_path / "none"), "expected a folder")
    (tmp_path / "empty").mkdir()
    refused(run("score", *files, "--html", tmp_path / "p.html", "--images", tmp_path / "empty"), "there are none")
    assert not (tmp_path / "out.json").exists()


@pytest.mark.slow
def test_val_keeps_labels_and_shows_clean_numbers(tiny: Path, dataset: Path, tmp_path: Path, run: Run) -> None:
    words = ["val", tiny, "--data", f"coco:{dataset}", "--no-plots", "--project", tmp_path, "--overwrite"]
    assert run(*words, "--protocol", "visdrone")[0] == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    # Each of the two classes has one object; the official mean leaves neither out, the clean one has no macro rows.
    assert report["clean"]["protocol"] == "visdrone (clean)"
    refused(run(*words, "--merge-sweep"), "merge-sweep", "give --slice")
    labels = tmp_path / "yolo" / "labels" / "val"
    labels.mkdir(parents=True)
    (tmp_path / "yolo" / "images").mkdir()
    (tmp_path / "yolo" / "images" / "val").symlink_to(dataset / "images" / "val")
    for name in "ab":
        (labels / f"{name}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (tmp_path / "yolo.yaml").write_text(
        f"path: {tmp_path / 'yolo'}\ntrain: images/val\nval: images/val\nnames: [a, b]\n"
    )
    words[3] = str(tmp_path / "yolo.yaml")
    refused(run(*words, "--save-json", labels / "a.txt"), "is input of this command")
