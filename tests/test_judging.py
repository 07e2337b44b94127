"""Judging by eye: sides and order from a seed, hidden repeats, Wilson's interval, and a CSV file of the answers."""

import csv
import errno
import os
import sys

import numpy as np
import pandas as pd
import pytest

from inpaint_utils.evaluation.judging import Judging


def make_fills(count=8):
    """Fog is dark, detail is bright, and each picture knows its place."""
    fog, detail = ([np.full((4, 4, 3), base + place / 100) for place in range(count)] for base in (0, 0.5))
    return {"fog": fog, "detail": detail}


def judge_all(judging, prefers=0.5):
    """Somebody who prefers bright pictures always."""
    while (pair := judging.pictures()) is not None:
        judging.choose("left" if pair[0].mean() >= prefers else "right")


def test_every_pair_comes_once_and_a_quarter_again_with_sides_changed(tmp_path):
    trials = Judging(make_fills(), tmp_path / "judged.csv").trials
    first, again = trials[:8], trials[8:]
    assert sorted(place for place, *_ in first) == list(range(8)) and len(again) == 2
    assert [trial[3] for trial in trials] == [False] * 8 + [True] * 2
    for place, left, right, _ in again:
        assert (place, right, left, False) in first
    assert {left for _, left, _, _ in first} == {"fog", "detail"}, "sides are at random"


def test_the_seed_alone_decides_order_and_sides(tmp_path):
    one, same, other = (Judging(make_fills(), tmp_path / "judged.csv", seed).trials for seed in (1, 1, 2))
    assert one == same != other


def test_pictures_lie_where_the_trial_says(tmp_path):
    judging = Judging(make_fills(), tmp_path / "judged.csv")
    place, left, right, _ = judging.trials[0]
    shown = judging.pictures()
    assert shown[0] is judging.fills[left][place] and shown[1] is judging.fills[right][place]


def test_answers_are_lines_of_a_file_that_a_second_sitting_adds_to(tmp_path):
    path = tmp_path / "judged.csv"
    for seed in (0, 1):
        judge_all(Judging(make_fills(), path, seed))
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20 and {row["real"] for row in rows} == {"detail"}
    assert sum(row["repeat"] == "1" for row in rows) == 4
    assert all("detail" in (row["left"], row["right"]) for row in rows)


def test_the_result_counts_a_pair_once_and_repeats_apart(tmp_path):
    judging = Judging(make_fills(), tmp_path / "judged.csv")
    judge_all(judging)
    assert judging.describe() == (
        "“detail” looked real in 8 of 8 pairs (95 % interval 68 to 100 %). "
        "You said the same again of 2 of 2 pairs that came twice."
    )


def test_before_the_first_answer_the_share_may_be_anything(tmp_path):
    assert "in 0 of 0 pairs (95 % interval 0 to 100 %)" in Judging(make_fills(), tmp_path / "judged.csv").describe()


def test_somebody_who_always_presses_left_is_found_out(tmp_path):
    judging = Judging(make_fills(), tmp_path / "judged.csv")
    while judging.pictures() is not None:
        judging.choose("left")
    assert "the same again of 0 of 2" in judging.describe()


@pytest.mark.parametrize("fills", [{}, {"one": [1]}, {"one": [1], "two": [1, 2]}, {"one": [], "two": []}])
def test_anything_but_two_equally_long_lists_is_refused(tmp_path, fills):
    with pytest.raises(ValueError, match="expected two methods"):
        Judging(fills, tmp_path / "judged.csv")


def test_a_side_that_is_none_and_one_answer_too_many_are_refused(tmp_path):
    judging = Judging(make_fills(1), tmp_path / "judged.csv")
    with pytest.raises(ValueError, match="'top', expected one of"):
        judging.choose("top")
    judge_all(judging)
    with pytest.raises(ValueError, match="All 2 pairs are judged"):
        judging.choose("left")


def test_where_nobody_watches_it_says_what_there_is_and_writes_nothing(tmp_path, capsys):
    Judging(make_fills(), tmp_path / "judged.csv").show()
    assert capsys.readouterr().out == "8 pairs to judge, 2 of them twice. Which looks real?\n"
    assert not list(tmp_path.iterdir())


def test_without_ipywidgets_it_does_the_same(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("INPAINT_HEADLESS")
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    Judging(make_fills(), tmp_path / "judged.csv").show()
    assert "8 pairs to judge" in capsys.readouterr().out


def test_buttons_lead_through_all_pairs_to_the_result(tmp_path, monkeypatch):
    widgets = pytest.importorskip("ipywidgets")
    shown = []
    monkeypatch.delenv("INPAINT_HEADLESS")
    monkeypatch.setattr("IPython.display.display", shown.append)
    judging = Judging(make_fills(), tmp_path / "judged.csv")
    judging.show()
    text, pairs = shown[0].children
    images, buttons = zip(*(pair.children for pair in pairs.children), strict=True)
    assert all(isinstance(image, widgets.Image) and bytes(image.value).startswith(b"\x89PNG") for image in images)
    assert text.value == "1 of 10. Which looks real?"
    while (pair := judging.pictures()) is not None:
        buttons[0 if pair[0].mean() >= 0.5 else 1].click()
    assert text.value == judging.describe() and pairs.layout.display == "none"


def test_an_answer_that_cannot_be_written_is_not_noted_and_given_again(tmp_path):
    folder = tmp_path / "results"
    judging = Judging(make_fills(1), folder / "judged.csv")
    before = judging.pictures()
    with pytest.raises(OSError, match=r"judged\.csv cannot be written .*the answer is not noted: .*choose again\.$"):
        judging.choose("left")
    assert judging.answers == [] and judging.pictures()[0] is before[0]
    folder.mkdir()
    judge_all(judging)
    assert len(pd.read_csv(folder / "judged.csv")) == len(judging.trials)


def test_half_a_line_that_a_full_disk_left_is_taken_back(tmp_path, monkeypatch):
    path = tmp_path / "judged.csv"
    judging, write = Judging(make_fills(1), path), pd.DataFrame.to_csv

    def fill_the_disk(table, file, **options):
        write(table, file, **options)
        os.truncate(file, file.stat().st_size - 5)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for _ in judging.trials:  # the header and then a line are cut off
        with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
            patch.setattr(pd.DataFrame, "to_csv", fill_the_disk)
            judging.choose("left")
        judging.choose("left")
    assert pd.read_csv(path)["repeat"].to_list() == [0, 1]


def test_a_click_that_failed_says_so_and_the_next_one_is_for_that_pair(tmp_path, monkeypatch):
    pytest.importorskip("ipywidgets")
    shown = []
    monkeypatch.delenv("INPAINT_HEADLESS")
    monkeypatch.setattr("IPython.display.display", shown.append)
    judging = Judging(make_fills(), tmp_path / "results" / "judged.csv")
    judging.show()
    text, pairs = shown[0].children
    images, buttons = zip(*(pair.children for pair in pairs.children), strict=True)
    pixels = images[0].value
    buttons[0].click()
    assert "cannot be written" in text.value and images[0].value == pixels
    judging.path.parent.mkdir()
    buttons[1].click()
    assert text.value == "2 of 10. Which looks real?" and images[0].value != pixels
    place, _, right, _ = judging.trials[0]
    assert [(row["picture"], row["real"]) for row in judging.answers] == [(place, right)]
