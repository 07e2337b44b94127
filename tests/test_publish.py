"""What is published elsewhere: Kaggle's data set and kernels, the folder of the model for Hugging Face, the page."""

import json
import os
import re
import stat
import subprocess
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from conftest import load_tool
from inpaint_utils import load_generator
from inpaint_utils.networks.models import build_generator

ROOT = Path(__file__).parents[1]
NAMES = ["1-data-preprocessing", "2-model-training", "3-model-finetuning", "4-testing-inference"]
IDS = [f"jane-doe/landscape-inpainting-{name}" for name in NAMES]
CREATED = "Dataset version is being created. Please check progress at https://www.kaggle.com/datasets/x"
PUSHED = "Kernel version 1 successfully pushed.  Please check progress at https://www.kaggle.com/code/x"
FIELDS = {  # of a kernel-metadata.json
    "id": str,
    "title": str,
    "code_file": str,
    "language": str,
    "kernel_type": str,
    "is_private": bool,
    "enable_gpu": bool,
    "machine_shape": str,
    "enable_internet": bool,
    "docker_image_pinning_type": str,
    "dataset_sources": list,
    "competition_sources": list,
    "kernel_sources": list,
    "model_sources": list,
}


@pytest.fixture
def kaggle(tmp_path, monkeypatch, wheel):
    """tools/publish_kaggle.py with a wheel built before, and a command kaggle that only notes what it is told."""
    tool = load_tool("publish_kaggle")
    monkeypatch.setattr(tool, "build_wheel", lambda folder: (folder / wheel.name).write_bytes(wheel.read_bytes()))
    monkeypatch.setattr(tool, "SECONDS_BETWEEN_LOOKS", 0)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    monkeypatch.chdir(tmp_path)

    def install(*said, dataset=CREATED, kernel=PUSHED):
        """The command's answers to `status`, by the name that is asked for, one after the other, and to the rest."""
        answers = tmp_path / "answers"
        answers.mkdir()
        for name, lines in said:
            (answers / name.replace("/", "_")).write_text("\n".join(lines) + "\n")
        command = tmp_path / "bin" / "kaggle"
        command.write_text(
            "#!/bin/sh\n"
            f'echo "$@" >> {tmp_path}/told\n'
            f'[ "$1 $2" != "kernels push" ] || {{ echo "{kernel}"; exit 0; }}\n'
            f'[ "$2" = status ] || {{ echo "{dataset}"; exit 0; }}\n'
            f"file={answers}/$(echo $3 | tr / _)\n"
            '[ -f "$file" ] || exit 1\n'
            'head -1 "$file"; [ $(wc -l < "$file") -gt 1 ] && sed -i 1d "$file"; exit 0\n'
        )
        command.chmod(command.stat().st_mode | stat.S_IXUSR)

    return tool, install


def read_kernels(folder):
    paths = sorted(folder.glob("0*/kernel-metadata.json"))
    return [json.loads(path.read_text()) for path in paths], [path.parent for path in paths]


def test_kernels_have_kaggles_fields_and_follow_one_another(kaggle, tmp_path, capsys):
    tool, _ = kaggle
    assert tool.main(["jane-doe", "--output", str(tmp_path / "out")]) == 0
    kernels, folders = read_kernels(tmp_path / "out")
    assert [kernel["id"] for kernel in kernels] == IDS
    for number, (kernel, folder) in enumerate(zip(kernels, folders, strict=True)):
        assert {name: type(value) for name, value in {"machine_shape": "", **kernel}.items()} == FIELDS
        assert kernel["id"].split("/")[1] == re.sub(r"\W+", "-", kernel["title"].lower()), "the title's own slug"
        assert len(kernel["title"]) >= 5
        assert (folder / kernel["code_file"]).is_file() and len(list(folder.iterdir())) == 2
        assert kernel["kernel_sources"] == IDS[:number]
        shape = kernel.get("machine_shape")
        assert (kernel["enable_gpu"], shape) == ((True, "NvidiaTeslaT4") if number else (False, None))
        assert kernel["is_private"] and kernel["enable_internet"] and kernel["language"] == "python"
        assert kernel["dataset_sources"] == ["jane-doe/inpaint-utils", "theblackmamba31/landscape-image-colorization"]
        assert kernel["competition_sources"] == []
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        "kaggle datasets create -p out/inpaint-utils",
        "kaggle kernels push -p out/01_data_preprocessing",
    ]
    assert len(lines) == 6 and not (tmp_path / "told").exists()


def test_competition_is_attached_as_one(kaggle, tmp_path):
    tool, _ = kaggle
    tool.main(["jane-doe", "--output", str(tmp_path / "out"), "--photos", "gan-getting-started"])
    for kernel in read_kernels(tmp_path / "out")[0]:
        assert kernel["dataset_sources"] == ["jane-doe/inpaint-utils"]
        assert kernel["competition_sources"] == ["gan-getting-started"]


def test_data_set_holds_the_wheel_and_the_licences(kaggle, tmp_path):
    tool, _ = kaggle
    tool.main(["jane-doe", "--output", str(tmp_path / "out")])
    folder = tmp_path / "out" / "inpaint-utils"
    metadata = json.loads((folder / "dataset-metadata.json").read_text())
    assert metadata == {"title": "inpaint-utils", "id": "jane-doe/inpaint-utils", "licenses": [{"name": "other"}]}
    assert "MIT License" in (folder / "LICENSE").read_text()
    assert "CC BY 4.0" in (folder / "sample_photos_licences.md").read_text()
    with zipfile.ZipFile(next(folder.glob("inpaint_utils-*-py3-none-any.whl"))) as file:
        assert "inpaint_utils/models/inpainting_generator_best.keras" in file.namelist()


def test_push_waits_for_each_notebook_before_the_next(kaggle, tmp_path, capsys):
    tool, install = kaggle
    states = ['has status "KernelWorkerStatus.RUNNING"', 'has status "KernelWorkerStatus.COMPLETE"']
    install(("jane-doe/inpaint-utils", ["ready"]), *((name, states) for name in IDS))
    assert tool.main(["jane-doe", "--output", "out", "--push"]) == 0
    told = (tmp_path / "told").read_text().splitlines()
    assert told[:3] == [
        "datasets status jane-doe/inpaint-utils",
        "datasets version -m update -p out/inpaint-utils",
        "datasets status jane-doe/inpaint-utils",
    ]
    steps = [f"kernels push -p out/0{name.replace('-', '_', 2)}" for name in NAMES]
    expected = [line for step, name in zip(steps, IDS, strict=True) for line in (step, *[f"kernels status {name}"] * 2)]
    assert told[3:] == expected


def test_push_stops_at_a_notebook_that_fails_and_goes_on_from_there(kaggle, tmp_path, capsys):
    tool, install = kaggle
    install(("jane-doe/inpaint-utils", ["ready"]), (IDS[2], [f'{IDS[2]} has status "KernelWorkerStatus.ERROR"']))
    assert tool.main(["jane-doe", "--output", "out", "--push", "--first", "3"]) == 1
    assert f"{IDS[2]} did not finish (ERROR): look at its log" in capsys.readouterr().err
    told = (tmp_path / "told").read_text()
    assert "push -p out/03_model_finetuning" in told and "out/04" not in told and "out/02" not in told


@pytest.mark.parametrize(
    ("command", "said", "sentence"),
    [
        (
            "kernel",
            "Kernel push error: Maximum weekly GPU quota of 30.00 hours reached.",
            "01_data_preprocessing (Kernel push error: Maximum weekly GPU quota of 30.00 hours reached)",
        ),
        (
            "kernel",
            f"The following are not valid dataset sources and could not be added: x/y\n{PUSHED}",
            "01_data_preprocessing (The following are not valid dataset sources and could not be added: x/y)",
        ),
        ("kernel", "", "01_data_preprocessing (it says nothing)"),
        (
            "dataset",
            "Starting upload\nDataset creation error: The title is taken",
            "inpaint-utils (Dataset creation error: The title is taken)",
        ),
    ],
)
def test_what_kaggle_refuses_with_exit_status_0_stops_the_push(kaggle, tmp_path, capsys, command, said, sentence):
    tool, install = kaggle
    states = [(name, ['has status "complete"']) for name in IDS]
    install(("jane-doe/inpaint-utils", ["ready"]), *states, **{command: said})
    assert tool.main(["jane-doe", "--output", "out", "--push"]) == 1
    assert capsys.readouterr().err == f"kaggle refused {sentence}: mend that, then go on with --first.\n"
    assert "out/02" not in (tmp_path / "told").read_text()


def test_an_owner_may_have_the_name_of_a_status(kaggle, tmp_path):
    tool, install = kaggle
    names = [name.replace("jane-doe", "ready-error") for name in IDS]
    running, complete = (f'{names[3]} has status "KernelWorkerStatus.{word}"' for word in ("RUNNING", "COMPLETE"))
    kernel = f"{PUSHED.removesuffix('x')}ready-error/x"
    install(("ready-error/inpaint-utils", ["ready"]), (names[3], [running, complete]), kernel=kernel)
    assert tool.main(["ready-error", "--output", "out", "--push", "--first", "4"]) == 0
    assert (tmp_path / "told").read_text().splitlines()[-2:] == [f"kernels status {names[3]}"] * 2


def test_looks_that_fail_are_not_repeated_for_ever(kaggle, monkeypatch):
    tool, _ = kaggle
    failed = subprocess.CompletedProcess([], 1, "", "403 Client Error: Forbidden\n")
    running, complete = (subprocess.CompletedProcess([], 0, f'x has status "{s}"', "") for s in ("running", "complete"))
    looks = iter([failed, running, *[failed] * 4, complete, *[failed] * 5])
    monkeypatch.setattr(tool, "ask", lambda *_: next(looks))
    tool.wait("kernels", "x")
    with pytest.raises(RuntimeError, match=r"status of x 5 times in a row \(403 Client Error: Forbidden\): look at it"):
        tool.wait("kernels", "x")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["jane doe"], "the owner is 'jane doe', expected the name in your profile's address"),
        (["jane-doe", "--push"], "there is no command kaggle on the PATH: pip install kaggle"),
    ],
)
def test_what_cannot_be_published_is_one_sentence(kaggle, arguments, sentence, monkeypatch, capsys):
    tool, _ = kaggle
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit):
        tool.main(arguments)
    assert sentence in capsys.readouterr().err


def test_a_wheel_that_cannot_be_built_is_one_sentence(monkeypatch, tmp_path, capsys):
    tool = load_tool("publish_kaggle")
    monkeypatch.setattr(tool, "has_setuptools", lambda: False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert tool.main(["jane-doe", "--output", str(tmp_path)]) == 1
    message = r"The wheel could not be built \(Could not find a version .* setuptools>=77 .*\): pip install"
    assert re.match(message, capsys.readouterr().err)


# The model


def read_folder(folder):
    return sorted(path.name for path in folder.iterdir())


def test_folder_for_a_hub_is_a_model_that_keras_opens(tmp_path, capsys):
    load_tool("publish_model").main([str(tmp_path / "hub")])
    parts = ["LICENSE", "README.md", "config.json", "metadata.json", "model.weights.h5"]
    assert read_folder(tmp_path / "hub") == parts
    opened = keras.saving.load_model(tmp_path / "hub", compile=False)
    for ours, shipped in zip(opened.get_weights(), load_generator().get_weights(), strict=True):
        np.testing.assert_array_equal(ours, shipped)
    card = (tmp_path / "hub" / "README.md").read_text(encoding="utf-8")
    assert "[MIT licence](LICENSE)" in card and "](../" not in card


def test_cards_links_lead_to_the_published_repository(tmp_path):
    load_tool("publish_model").main([str(tmp_path / "hub"), "--repository", "me/landscapes"])
    card = (tmp_path / "hub" / "README.md").read_text(encoding="utf-8")
    assert "](https://github.com/me/landscapes/blob/main/docs/RESULTS_ANALYSIS.md)" in card and "](../" not in card


def test_folder_that_holds_something_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(SystemExit):
        load_tool("publish_model").main([str(tmp_path)])
    assert "which is not empty: give a new one" in capsys.readouterr().err and read_folder(tmp_path) == ["mine.txt"]
    with pytest.raises(SystemExit):
        load_tool("publish_model").main([str(tmp_path / "hub"), "--generator", str(tmp_path / "mine.txt")])
    assert "expected a .keras file" in capsys.readouterr().err


def test_a_zip_without_a_model_is_not_published(tmp_path, capsys):
    np.savez(tmp_path / "x.npz", weights=np.zeros(3))
    with pytest.raises(SystemExit):
        load_tool("publish_model").main([str(tmp_path / "hub"), "--generator", str(tmp_path / "x.npz")])
    assert "x.npz', expected a .keras file, such as notebook 2 writes." in capsys.readouterr().err
    assert not (tmp_path / "hub").exists()


def test_front_matter_is_a_card_as_hugging_face_reads_it(tmp_path):
    hub = pytest.importorskip("huggingface_hub", reason="pip install huggingface_hub")
    load_tool("publish_model").main([str(tmp_path / "hub")])
    card = hub.ModelCard.load(tmp_path / "hub" / "README.md").data
    assert (card.library_name, card.pipeline_tag, card.license) == ("keras", "image-to-image", "mit")
    evaluation = json.loads((ROOT / "results" / "runs" / "evaluation.json").read_text(encoding="utf-8"))
    expected = {
        (
            f"{row['photos']} held-out landscape photos at 256 px, {row['difficulty']} {row['kind']} holes",
            measure,
        ): value
        for row in evaluation["table"]
        if (row["fill"], row["mode"]) == ("generator", "blind")
        for measure, value in (("psnr", round(row["hole_psnr"], 2)), ("ssim", round(row["ssim"], 4)))
    }
    found = {(result.dataset_name, result.metric_type): result.metric_value for result in card.eval_results}
    assert len(found) == 6 and found.items() <= expected.items()
    assert card.to_dict()["co2_eq_emissions"]["emissions"] > 0


# The page, which tests/test_static_page.py opens in a browser


def test_no_page_is_built_with_a_generator_of_one_size(tmp_path):
    build_generator(128, 4).save(tmp_path / "small.keras")
    with pytest.raises(
        ValueError, match=r"small\.keras' takes pictures of 128×128 pixels alone, expected .* all sizes"
    ):
        load_tool("build_page").export_bytes(tmp_path / "small.keras")
