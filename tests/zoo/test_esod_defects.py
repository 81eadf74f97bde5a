"""The defects of ESOD's released code: each has a test that guards against it, words in the docs, or both.

Below the table stand guards that no other file has.
"""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.autograd.profiler import profile

from finespot import zoo
from finespot.data import open_dataset
from finespot.data.shapes.sam import Sam
from finespot.inference import validate
from finespot.nn.heads import DecoupledAnchorHead
from finespot.nn.windows import Grid, choose
from finespot.runtimes import Session
from finespot.structures import Batch, Classes, Detections, Features, Level, Placement, Targets
from finespot.training.tasks.detect import Detect
from finespot.writers import YoloWriter
from finespot.writers import yolo as yolo_module
from finespot.zoo import WindowedDetector

ROOT = Path(__file__).parents[2]
PAGE = " ".join((ROOT / "docs" / "systems" / "esod.md").read_text(encoding="utf-8").split())
HERE = "tests/zoo/test_esod_defects.py::"
WINDOWED = "tests/zoo/test_windowed.py::"
GRID = "tests/nn/windows/test_grid.py::"


class Defect(NamedTuple):
    """What the released code did; the tests that would fail with it (file::name), and words of the page."""

    what: str
    tests: tuple[str, ...] = ()
    words: str = ""


# In order: windows and batches, heads and networks, data and labels, evaluation and measuring.
DEFECTS = (
    Defect(
        "a training step ran all 64 windows, so it saved nothing",
        (f"{WINDOWED}test_a_training_step_costs_less_in_proportion",),
        "all 64 windows of a square input",
    ),
    Defect(
        "training stopped at inputs that are not square or no multiple of 256 px, such as 640 and 1920",
        (f"{WINDOWED}test_any_size_runs_and_trains", f"{WINDOWED}test_windows_of_any_size_are_chosen"),
        "whose side is a multiple of 256 (so not 640 or 1920)",
    ),
    Defect(
        "cells at the right and below became positive in the first column and row of windows only",
        (f"{HERE}test_neighbors_on_all_sides_are_positive_in_every_window",),
        "neighbors at the right and below only in the first column and row",
    ),
    Defect(
        "an object with its center in the last half cell of the picture had no positive cell",
        (
            f"{HERE}test_neighbors_on_all_sides_are_positive_in_every_window",
            f"{WINDOWED}test_positives_do_not_depend_on_the_window_nor_on_the_border",
        ),
        "none in the last half cell of the picture",
    ),
    Defect(
        "windows moved until an isolated object ended flush with an edge",
        (f"{HERE}test_windows_do_not_move_onto_what_fires",),
        "objects end flush with an edge, no halo",
    ),
    Defect(
        "index grids were kept by the product of their sides, so a portrait got those of a landscape",
        (f"{WINDOWED}test_landscape_and_portrait_have_the_same_windows_turned",),
        "kept index grids by the product of their sides",
    ),
    Defect(
        "a batch ended with its last picture that had a window",
        (f"{WINDOWED}test_pictures_without_a_window_have_an_empty_result_and_their_place",),
        "lost the last pictures of a batch where these had no window",
    ),
    Defect(
        "pictures lost that way were missing from AP and recall, with their objects",
        (f"{HERE}test_a_picture_without_a_window_counts_in_precision_and_recall",),
        "and with them their truth",
    ),
    Defect(
        "prediction stopped with an error at the first picture without a window",
        ("tests/inference/test_window_views.py::test_pictures_without_windows_keep_their_place",),
        "stopped at a picture without any",
    ),
    Defect(
        "whether a map holds probabilities was guessed from its largest and smallest value",
        (
            f"{HERE}test_heat_between_0_and_1_is_of_logits",
            "tests/nn/windows/test_cells.py::test_cells_about_maxima",
        ),
        "guessed from its values whether a map holds logits or probabilities",
    ),
    Defect(
        "single cells had a threshold of 0.3, whatever that of the windows was",
        (
            "tests/nn/windows/test_cells.py::test_cells_about_maxima",
            f"{WINDOWED}test_cells_are_chosen_in_windows_and_on_the_whole_map",
        ),
        "threshold fixed at 0.3",
    ),
    Defect(
        "windows were cut out one by one, each with several reads from the device",
        (f"{HERE}test_windows_are_cut_out_at_once_and_the_device_is_read_once_at_most",),
        "in a loop with several reads from the device for each",
    ),
    Defect(
        "overlapping windows all ran, so crowded pictures could cost more than the whole map",
        (
            f"{GRID}test_cores_part_the_map_and_windows_hold_their_core_and_halo",
            "tests/nn/windows/test_window_selection.py::test_what_all_windows_see_is_kept_once",
        ),
        "the parallel form, overlaps kept",
    ),
    Defect(
        "results of pictures were padded to one length with rows of zeros, boxes of score 0",
        (f"{WINDOWED}test_pictures_without_a_window_have_an_empty_result_and_their_place",),
        "stacked windows were filled up with zeros, in which boxes were found",
    ),
    Defect(
        "windows had no halo, and borders lay elsewhere in training than in prediction",
        (
            f"{GRID}test_cores_part_the_map_and_windows_hold_their_core_and_halo",
            f"{WINDOWED}test_training_chooses_objects_fire_and_background_on_a_grid_that_moves",
        ),
        "fixed cores with halos",
    ),
    Defect(
        "single cells were gathered from an unfolded copy of the whole map",
        (f"{HERE}test_single_cells_need_no_copy_of_the_whole_map",),
        "on an unfolded copy of the whole map: nine times the memory",
    ),
    Defect(
        "the weights of single cells were bare tensors, of fused layers only, that could not be moved or saved",
        (
            f"{HERE}test_a_head_that_computed_single_cells_can_be_moved_and_saved",
            "tests/nn/test_decoupled_anchor.py::test_single_cells_have_the_values_of_the_map",
        ),
        "weights that cannot be moved or saved",
    ),
    Defect(
        "an oracle for windows was one for single cells too",
        (f"{HERE}test_an_oracle_of_windows_is_none_of_cells_nor_the_other_way_round",),
        "one oracle switch for windows and cells",
    ),
    Defect(
        "the seeker's loss had a fixed gain, and a setting for it that was never read; the paper's loss was not there",
        (
            "tests/nn/test_seeker.py::test_gains_weigh_the_term",
            "tests/nn/test_seeker.py::test_focal_and_dice_are_those_of_the_paper",
            "tests/training/test_seeker_training.py::test_the_gain_weighs_the_term",
        ),
        "the key for it in its settings was never read",
    ),
    Defect(
        "the converter of other hosts' weights was never called",
        ("tests/weights/test_import.py::test_command_line", "tests/weights/test_import.py::test_there_and_back"),
        "the converter did nothing",
    ),
    Defect(
        "a block of YOLOv8m got an argument that it does not take",
        ("tests/zoo/test_esod.py::test_parameters_on_other_hosts_are_those_of_the_released_networks",),
        "YOLOv8m could not be built as released",
    ),
    Defect(
        "the map started at a probability by the number of classes, for one class at 0.98",
        (
            f"{HERE}test_the_map_starts_quiet_for_one_class_too",
            "tests/nn/test_seeker.py::test_it_starts_quiet_whatever_it_sees",
        ),
        "0.06 for ten classes, 0.98 everywhere for one",
    ),
    Defect(
        "on several GPUs pictures were not normalized as the host wants them",
        (
            f"{HERE}test_training_normalizes_whatever_the_network_is_wrapped_in",
            "tests/runtimes/test_session.py::test_mean_and_std_have_effects",
        ),
        "normalized by the host's mean and deviation on one GPU only",
    ),
    Defect(
        "strides were fixed at 8, 16 and 32, and the cut at 8",
        ("tests/nn/test_seeker.py::test_it_reads_the_level_of_its_stride",),
        "8, 16, 32 fixed in code",
    ),
    Defect(
        "a masked transformer gave back its input in place of what it had computed",
        words="the masked transformer handed on its input in place of what it had computed",
    ),
    Defect(
        "GPViT ran only where there were 8 x 8 windows, so not on rectangles",
        (f"{WINDOWED}test_windows_of_the_release_run_and_train_on_other_hosts",),
        "GPViT wanted exactly 8 x 8 windows",
    ),
    Defect(
        "GPViT's coarse tokens were cut at places rounded down, and decoded at the exact ones",
        (f"{GRID}test_cores_part_the_map_and_windows_hold_their_core_and_halo",),
        "cut its coarse tokens beside the place that they were decoded at",
    ),
    Defect(
        "a form with CenterNet had neither normalization nor weights nor a loss",
        words="a masked transformer and CenterNet could not be built or trained",
    ),
    Defect(
        "many options did nothing or ended in an error",
        (
            "tests/training/test_recipe_effects.py::test_no_key_is_forgotten",
            "tests/cli/test_cli_predict.py::test_idle_options_are_refused",
            f"{WINDOWED}test_options_out_of_range_or_without_effect_are_refused",
        ),
        "options without effect: `--augment`, ensembles",
    ),
    Defect(
        "the exported graph kept number and places of the windows that it was traced with",
        words="exported one graph with the windows of the picture it was traced with",
    ),
    Defect(
        "a switch gave training the true maps, which training did not look at",
        (f"{WINDOWED}test_training_chooses_objects_fire_and_background_on_a_grid_that_moves",),
        "one for training that did nothing",
    ),
    Defect(
        "a picture without a file of its map, as all that are not .jpg, taught that nothing is there",
        (
            "tests/data/shapes/test_make_shapes.py::test_missing_files_are_named_with_the_command_that_makes_them",
            "tests/training/test_seeker_training.py::test_missing_shapes_end_the_run_before_it_begins",
        ),
        'a missing file, or one beside a `.png`, taught "nothing here"',
    ),
    Defect(
        "the segmenter's result was read without being taken from the device, which is an error",
        (f"{HERE}test_masks_are_taken_from_the_device_before_they_are_read",),
        "the script stopped with an error",
    ),
    Defect(
        "where the segmenter could not be loaded, ellipses were drawn without a word",
        (
            "tests/data/shapes/test_sam.py::test_folders_that_hold_no_such_model",
            "tests/data/shapes/test_sam.py::test_without_transformers_one_line_says_what_to_install",
        ),
        "fell back to ellipses without a word",
    ),
    Defect(
        "the segmenter got blue for red",
        ("tests/data/shapes/test_make_shapes.py::test_the_segmenter_gets_red_first",),
        "the segmenter got its pictures in BGR",
    ),
    Defect(
        "a box without area stopped the preparation of a whole set, and small objects lost the rim of their ellipse",
        (
            "tests/data/test_formats_yolo.py::test_clipping_is_counted_and_rounding_is_not",
            "tests/assigners/test_heatmap.py::test_every_object_has_a_cell_of_value_one_however_small",
        ),
        "stopped at an empty box",
    ),
    Defect(
        "maps were drawn at full size and shrunk with the picture, which made small objects fainter",
        ("tests/assigners/test_heatmap.py::test_every_object_has_a_cell_of_value_one_however_small",),
        "files at full resolution, resized and warped with the picture",
    ),
    Defect(
        "a second run of the preparation took its own results for pictures and stopped",
        (
            "tests/data/shapes/test_make_shapes.py::test_a_second_run_does_nothing_and_a_stopped_one_goes_on",
            "tests/data/shapes/test_make_shapes.py::test_shapes_do_not_lie_among_the_pictures",
            "tests/data/formats/test_visdrone.py::test_painted_copies_are_no_pictures_without_objects",
        ),
        "a second run picked up what the first had written and stopped",
    ),
    Defect(
        "all objects of UAVDT became one class of three, and the list to validate on was written by nothing",
        (
            "tests/data/formats/test_uavdt.py::test_layouts",
            "tests/data/formats/test_uavdt.py::test_splits_are_the_official_lists",
        ),
        "all of UAVDT one class, scored by a list that nothing writes",
    ),
    Defect(
        "a file of one line was taken for a list of numbers",
        (
            "tests/data/formats/test_uavdt.py::test_one_class_as_the_official_evaluation_has_it",
            "tests/metrics/test_read_yolo.py::test_rows_of_results",
        ),
        "a file of one line",
    ),
    Defect(
        "pictures were divided at random, differently in each run",
        ("tests/data/test_split.py::test_the_same_on_every_machine",),
        "splits without a seed",
    ),
    Defect(
        "labels were sought by the first images folder of a path, those of two sets written beside the pictures",
        (
            "tests/data/test_formats_yolo.py::test_label_path",
            "tests/data/formats/test_uavdt.py::test_layouts",
            "tests/data/formats/test_tinyperson.py::test_pictures_of_a_split",
        ),
        "labels of UAVDT and TinyPerson beside the pictures, against its own page",
    ),
    Defect(
        "a picture was left out for one row that occurs twice or reaches outside",
        (
            "tests/data/test_formats_yolo.py::test_equal_boxes_are_kept_and_told",
            "tests/data/test_formats_yolo.py::test_clipping_is_counted_and_rounding_is_not",
        ),
        "a row that occurs twice dropped the whole picture",
    ),
    Defect(
        "the settings that the command for TinyPerson names were missing",
        ("tests/cli/test_system_pages.py::test_training",),
        "settings for TinyPerson missing",
    ),
    Defect(
        "on one GPU pictures came in the same order in each epoch, always by 8 worker processes",
        (
            "tests/data/test_loader.py::test_epoch_and_seed_change_order_and_pixels",
            "tests/training/test_recipe_effects.py::test_other_keys",
        ),
        "8 worker processes, whatever was asked for",
    ),
    Defect(
        "suppression dropped the worst candidate, also where it was the only one",
        ("tests/boxes/test_suppression.py::test_equals_the_loop_on_clusters",),
        "suppression always dropped the worst candidate, also the only one",
    ),
    Defect(
        "suppression mixed classes beyond 4096 px, and left pictures empty after 10 s",
        ("tests/boxes/test_nms_choices.py::test_classes_are_apart_where_an_offset_of_4096_px_would_join_them",),
        "classes mixed beyond 4096 px; it gave up after 10 s",
    ),
    Defect(
        "occupancy was a mean over batches that had windows, padding and the last picture's window size in it",
        (
            "tests/zoo/test_savings.py::test_savings_of_a_picture_with_padding",
            "tests/metrics/test_coverage.py::test_pictures_without_windows_count_as_seen_nowhere",
        ),
        "occupancy as a mean over batches, without those that had no window",
    ),
    Defect(
        "where no detection was right, objects counted as none, and recall of boxes was infinite",
        ("tests/inference/test_window_views.py::test_validation_keeps_the_views_and_measures_their_coverage",),
        "recall of boxes divided by 0 where nothing was found",
    ),
    Defect(
        "measures of the map took the columns of precision and recall, and stopped at a box without a hot cell",
        (
            "tests/metrics/test_heat.py::test_every_picture_counts_once_for_precision_where_it_has_a_hot_cell",
            "tests/cli/test_windows_verbs.py::test_validation_by_each_choice",
        ),
        "heat map figures in place of precision and recall",
    ),
    Defect(
        "time was that of the network with its first call; operations were those of another pass",
        (
            "tests/cli/test_windows_verbs.py::test_times_by_part_without_the_first_batch",
            "tests/inference/test_validate.py::test_speed_and_progress",
            "tests/zoo/test_savings.py::test_a_run_costs_what_the_model_says",
        ),
        "time with the first call, without preparation and suppression; GFLOPs of another pass",
    ),
    Defect(
        "a text file of detections was opened once a box",
        (f"{HERE}test_a_text_file_is_written_once_a_picture",),
        "a text file opened once a box",
    ),
    Defect(
        "drawings stopped at more than 40 windows",
        ("tests/writers/test_heat_pictures.py::test_every_window_is_drawn_however_many_there_are",),
        "drew at most 40 windows",
    ),
    Defect(
        "a network by its name alone had 10 classes",
        ("tests/zoo/test_esod.py::test_parameters_of_the_networks_for_other_sets",),
        "models fixed to 10 classes",
    ),
    Defect(
        "the page named scripts where there are none, and the code wanted libraries that are gone",
        ("tests/cli/test_system_pages.py::test_training",),
        "scripts in other folders than the page says; versions of libraries that are gone",
    ),
)
BY_NUMBER = [pytest.param(defect, id=f"D{number}") for number, defect in enumerate(DEFECTS, 1)]


@lru_cache(None)
def names_in(file: str) -> set[str]:
    """The names of the tests in a file, those of classes too."""
    nodes = ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8")))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_the_table_is_whole() -> None:
    assert len(DEFECTS) == 55
    assert len({defect.what for defect in DEFECTS}) == 55


@pytest.mark.parametrize("defect", BY_NUMBER)
def test_every_defect_has_a_test_or_words(defect: Defect) -> None:
    assert defect.tests or defect.words
    for test in defect.tests:
        file, _, name = test.partition("::")
        assert name in names_in(file)
    assert " ".join(defect.words.split()) in PAGE


# Operations for which the host waits for its device.
WAITS = {"aten::_local_scalar_dense", "aten::nonzero"}
LEVELS = tuple(Level(32, stride) for stride in (8, 16, 32))


def head() -> DecoupledAnchorHead:
    torch.manual_seed(0)
    return DecoupledAnchorHead(LEVELS, 3).eval()


def maps(rows: int, cells: tuple[int, int]) -> Features:
    """Maps of the head for `rows` pictures or windows of so many cells of stride 8."""
    draw = torch.Generator().manual_seed(1)
    sides = [(cells[0] * 8 // level.stride, cells[1] * 8 // level.stride) for level in LEVELS]
    return Features([torch.randn(rows, 32, *side, generator=draw) for side in sides], LEVELS)


def objects_at(*centers: tuple[float, float]) -> Targets:
    nothing = torch.zeros(len(centers), dtype=torch.int64)
    boxes = torch.tensor([[x - 4.5, y - 4, x + 4.5, y + 4] for x, y in centers])
    return Targets(boxes, nothing, nothing, nothing.bool(), 1)


@pytest.fixture(scope="module")
def detector() -> WindowedDetector:
    torch.manual_seed(0)
    made = zoo.build(zoo.architecture("esod-yolov8n", 1, core=16, halo=4, dense_above=None))
    assert isinstance(made, WindowedDetector)
    return made.eval()


def fired(*cells: tuple[int, int]) -> Tensor:
    """A map of 48 x 48 cells that fires at these (row, column)."""
    heat = torch.full((1, 1, 48, 48), -9.0)
    for row, column in cells:
        heat[0, 0, row, column] = 9
    return heat


def test_neighbors_on_all_sides_are_positive_in_every_window() -> None:
    """Three of a level's cells for each of three anchors, wherever a center lies in its cell and its window; at the
    border of the picture as many as in the dense network.
    """
    made, grid = head(), Grid((16, 24), (8, 8), 4)
    places = grid.places(torch.device("cpu"))
    whole, windows = made(maps(1, grid.size)), made(maps(grid.cores, grid.window))
    picture = torch.zeros(grid.cores, 1, dtype=torch.int64)
    windows |= {"origins": torch.cat((picture, places.origins * 8), 1), "cores": places.cores * 8}
    windows["picks"] = torch.ones(1, *grid.shape, dtype=torch.bool)
    inside = [(8 * x + a, 8 * y + b) for x in (4, 12, 20) for y in (4, 12) for a in (2.0, 6.0) for b in (2.0, 6.0)]
    # Beyond the map there are no cells: two of three, in corners one.
    rim = [(191.5, 61.0), (188.5, 22.0), (61.0, 127.5), (22.0, 126.0), (191.5, 127.5), (0.5, 0.5)]
    for centers, cells in ((inside, 9 * len(inside)), (rim, 3 * (2 + 2 + 2 + 2 + 1 + 1))):
        truth = objects_at(*centers)
        found, dense = (int(made.loss(raw, truth).counts["positives"]) for raw in (windows, whole))
        assert (found, dense) == (cells, cells)


def test_windows_do_not_move_onto_what_fires(detector: WindowedDetector) -> None:
    """Wherever in its core an object fires, its window shows four cells more on each side of the core."""
    for place in ((16, 16), (31, 16), (20, 31), (31, 31), (24, 24)):
        chosen = detector.choose(fired(place))
        assert chosen.grid.window == (24, 24)
        assert chosen.origins.tolist() == [[12, 12]]


@pytest.mark.slow
def test_a_picture_without_a_window_counts_in_precision_and_recall(tmp_path: Path) -> None:
    """Two pictures of one object each in a batch, where the seeker fires in the first alone: half is found."""
    box = np.array([[24, 24, 40, 40]], np.float32)
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for name, level in (("a", 255), ("b", 0)):
        Image.fromarray(np.full((64, 64, 3), level, np.uint8)).save(tmp_path / "images" / f"{name}.png")
        (tmp_path / "labels" / f"{name}.txt").write_text("0 0.5 0.5 0.25 0.25\n")
    (tmp_path / "set.yaml").write_text(f"path: {tmp_path}\ntrain: images\nval: images\nnames: [spot]\n")
    torch.manual_seed(0)
    session = Session(zoo.build(zoo.architecture("esod-yolov8n", 1, core=8, halo=0, dense_above=None)), threads=1)
    network, select = session.network, session.head.select

    def bright(images: Tensor, split: Any = None) -> Features:
        seen: Features = network.split().stem(images)
        seen.auxiliary["heat"] = 20 * (nn.functional.avg_pool2d(images.mean(1, keepdim=True), 8) - 0.5)
        return seen

    def right(raw: Any, conf: float, **options: Any) -> Any:
        """A perfect detector, wherever it looks."""
        found = select(raw, 0.0, **options)
        return [(box, np.array([0.9], np.float32), np.array([0])) if len(one[1]) else one for one in found]

    network.look, session.head.select = bright, right
    made = validate(session, open_dataset(tmp_path / "set.yaml", "val"), imgsz=64, batch=2)
    assert [len(one) for one in made.detections] == [1, 0]
    # Of 101 points of recall, those up to a half.
    assert made.report.values["AP"] == pytest.approx(51 / 101)
    assert (made.report.images, made.report.truths) == (2, 2)


def test_heat_between_0_and_1_is_of_logits() -> None:
    assert choose(torch.tensor([[0.0, 0.4, 1.0]]), 0.55).tolist() == [[False, True, True]]
    assert choose(torch.tensor([[0.0, 0.4, 1.0]]), 0.5).all()


def test_windows_are_cut_out_at_once_and_the_device_is_read_once_at_most(
    detector: WindowedDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cost(heat: Tensor, **rule: Any) -> tuple[int, int, int]:
        """How many windows, operations and reads."""
        monkeypatch.setattr(detector, "_windows", detector.windows.__class__(core=16, halo=4, **rule))
        seen = Features([torch.zeros(1, 2, 48, 48)], LEVELS[:1])
        with profile() as watched:
            windows = detector.cut_out(seen, detector.choose(heat)).maps[0]
        names = [one.name for one in watched.function_events]
        return len(windows), len(names), sum(name in WAITS for name in names)

    one, other = cost(fired((0, 0))), cost(fired(*((16 * row, 16 * column) for row in range(3) for column in range(3))))
    assert (one[0], other[0]) == (1, 9)
    assert one[1:] == other[1:]
    assert one[2] == 1
    assert cost(fired((0, 0)), threshold=0.0, budget=4)[::2] == (4, 0)


def test_an_oracle_of_windows_is_none_of_cells_nor_the_other_way_round(
    detector: WindowedDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    heat, truth = fired((40, 40)), objects_at((36.0, 36.0))

    def chosen(**rule: Any) -> tuple[list[list[int]], list[list[int]]]:
        """Rows and columns of the cores that run, and of the middle of the cells."""
        monkeypatch.setattr(detector, "_windows", detector.windows.__class__(core=16, halo=4, **rule))
        likely = detector.likely(heat, truth)
        assert likely is not None
        return detector.choose(heat, truth).picks[0].nonzero().tolist(), likely[0, 0].nonzero().tolist()[4::9]

    assert chosen(select="oracle", cells="seeker") == ([[0, 0]], [[40, 40]])
    assert chosen(select="seeker", cells="oracle") == ([[2, 2]], [[4, 4]])


def test_single_cells_need_no_copy_of_the_whole_map() -> None:
    made, given = head(), maps(1, (32, 32))
    likely = torch.zeros(1, 1, 32, 32, dtype=torch.bool)
    likely[0, 0, 3:6, 3:6] = True
    with torch.no_grad(), profile(profile_memory=True) as watched:
        made.at_cells(given, likely)
    largest = max(one.self_cpu_memory_usage for one in watched.function_events)
    size = given.maps[0].numel() * given.maps[0].element_size()
    assert size <= largest < 2 * size


def test_a_head_that_computed_single_cells_can_be_moved_and_saved() -> None:
    made, given = head(), maps(2, (16, 16))
    likely = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(2)) < 0.05
    before = set(made.state_dict())
    with torch.no_grad():
        single = made.at_cells(given, likely)
        made.double()
        double = made.at_cells(Features([one.double() for one in given.maps], LEVELS), likely)
        assert double["scores"].dtype == torch.float64
        assert torch.allclose(single["scores"].double(), double["scores"], atol=1e-5)
        assert set(made.state_dict()) == before
        other = DecoupledAnchorHead(LEVELS, 3).eval()
        other.load_state_dict(made.state_dict())
        again = other.at_cells(given, likely)
    assert torch.equal(again["scores"], single["scores"])


def test_the_map_starts_quiet_for_one_class_too() -> None:
    seeker: Any = zoo.build(zoo.architecture("esod-yolov8n", 1)).relay
    assert torch.sigmoid(seeker.predict.bias).item() == pytest.approx(0.05)


def test_training_normalizes_whatever_the_network_is_wrapped_in() -> None:
    """The wrapper hides what it holds, as one for several GPUs does."""
    rule, seen = zoo.RTMDET.normalization, []
    task: Any = SimpleNamespace(
        normalization=rule,
        trainable=lambda images, truth: seen.append(images),
        model=SimpleNamespace(relay_learns=False, loss=lambda raw, targets: None),
    )
    pixels = torch.full((1, 3, 8, 8), 200, dtype=torch.uint8)
    placed = Placement((1.0, 1.0), (0.0, 0.0), (8, 8))
    Detect.step(task, Batch(pixels, objects_at((4, 4)), (placed,), (0,), {}, None))
    want = [(200 / 255 - mean) / std for mean, std in zip(rule.mean, rule.std)]
    assert any(rule.mean)
    assert seen[0].mean((0, 2, 3)).tolist() == pytest.approx(want, rel=1e-4)


class Elsewhere(Tensor):
    """Values of another device: numpy cannot read them before they are brought here."""

    def numpy(self, *, force: bool = False) -> Any:
        raise TypeError("can't convert device tensor to numpy")

    def cpu(self, *args: Any, **options: Any) -> Tensor:
        return self.as_subclass(Tensor)


def test_masks_are_taken_from_the_device_before_they_are_read() -> None:
    class Network:
        def get_image_embeddings(self, picture: Tensor) -> Tensor:
            return picture

        def __call__(self, input_boxes: Tensor, **inputs: Any) -> Any:
            masks = torch.ones(1, input_boxes.shape[1], 1, 16, 16)
            return SimpleNamespace(pred_masks=masks.as_subclass(Elsewhere))

    def prepared(images: Any, input_boxes: Any, **options: Any) -> dict[str, Tensor]:
        boxes, sizes = torch.tensor(input_boxes), torch.tensor([images.shape[:2]])
        return {"pixel_values": torch.zeros(1, 3, 64, 64), "input_boxes": boxes, "reshaped_input_sizes": sizes}

    segment = Sam.__new__(Sam)
    segment.device, segment._network, segment._processor = torch.device("cpu"), Network(), prepared
    (mask,) = segment(np.zeros((64, 64, 3), np.uint8), np.array([[4, 4, 20, 12]], np.float32))
    assert mask.shape == (8, 16)
    assert mask.all()


def test_a_text_file_is_written_once_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    monkeypatch.setattr(yolo_module, "write_atomic", lambda path, text, **options: written.append(text))
    writer = YoloWriter()
    writer.open(tmp_path)
    boxes = np.tile(np.array([10, 10, 20, 20], np.float32), (50, 1))
    writer.write(Detections(boxes, np.full(50, 0.5), np.zeros(50, int), (40, 40), Classes(("a",)), "p/a.png"))
    assert len(written) == 1
    assert written[0].count("\n") == 50
