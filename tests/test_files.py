"""Files that several threads, processes and killed runs write: a reader meets a whole one, and nothing is left over."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import pandas as pd
import pytest

from inpaint_utils import files
from inpaint_utils.files import name_part, replacing, save_model, write_atomically


def list_names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def test_a_reader_meets_whole_files_while_threads_write_one_name(tmp_path):
    path, size, rounds = tmp_path / "shared.bin", 3_000_000, 12
    write_atomically(path, b"0" * size)
    writing = threading.Event()
    writing.set()

    def write(letter):
        for _ in range(rounds):
            write_atomically(path, letter * size)

    def read():
        met = set()
        while writing.is_set():
            content = path.read_bytes()
            assert len(content) == size and content.count(content[:1]) == size, "half a file was read"
            met.add(content[:1])
        return met

    with ThreadPoolExecutor(4) as pool:
        reader = pool.submit(read)
        for writer in [pool.submit(write, letter) for letter in (b"A", b"B", b"C")]:
            writer.result()
        writing.clear()
        assert reader.result(), "the reader read nothing"
    assert list_names(tmp_path) == ["shared.bin"]


def test_processes_and_threads_have_temporary_names_of_their_own(tmp_path):
    code = "import sys; from inpaint_utils.files import name_part; print(name_part(sys.argv[1]).name)"
    root = Path(files.__file__).parents[1]
    there = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.npy")], cwd=root, capture_output=True, text=True, check=True
    )
    with ThreadPoolExecutor(1) as pool:
        names = {
            there.stdout.strip(),
            pool.submit(name_part, tmp_path / "a.npy").result().name,
            name_part(tmp_path / "a.npy").name,
            name_part(tmp_path / "b.npy").name,
        }
    assert len(names) == 4 and all(name.startswith(".part_") and name.endswith(".npy") for name in names)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot be asked whether a process runs")
def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path):
    code = (
        "import os, signal, sys; from inpaint_utils.files import replacing\n"
        "with replacing(sys.argv[1]) as part:\n"
        "    part.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    root = Path(files.__file__).parents[1]
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.txt")], cwd=root)
    assert len(list_names(tmp_path)) == 1
    with replacing(tmp_path / "a.txt") as part:  # this one runs: a second writer leaves it alone
        part.write_text("first")
        with ThreadPoolExecutor(1) as pool:
            pool.submit(write_atomically, tmp_path / "a.txt", "second").result()
        assert part.is_file() and len(list_names(tmp_path)) == 2
    assert list_names(tmp_path) == ["a.txt"] and (tmp_path / "a.txt").read_text() == "first"


def test_a_name_as_long_as_the_disk_allows_can_be_written(tmp_path):
    for name in ("x" * 240 + ".png", "ä" * 120 + ".keras", "a." + "y" * 240):
        write_atomically(tmp_path / name, "whole")
        assert (tmp_path / name).read_text() == "whole"


def test_a_failed_write_leaves_the_old_file_alone(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(RuntimeError), replacing(tmp_path / "a.txt") as part:
        part.write_text("half")
        raise RuntimeError
    assert list_names(tmp_path) == ["a.txt"] and (tmp_path / "a.txt").read_text() == "old"


def test_what_is_written_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    done, real = [], files.os.replace
    monkeypatch.setattr(files.os, "fsync", lambda number: done.append(os.fstat(number).st_size))
    monkeypatch.setattr(files.os, "replace", lambda part, path: done.append(Path(path).name) or real(part, path))
    write_atomically(tmp_path / "a.txt", "whole")
    save_model(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]), tmp_path / "b.keras")
    assert done == [5, "a.txt", (tmp_path / "b.keras").stat().st_size, "b.keras"]


def test_a_photo_name_that_is_no_utf8_is_written_as_it_is(tmp_path):
    name = os.fsdecode(b"caf\xe9.jpg")  # from an old archive
    write_atomically(tmp_path / "photos.csv", pd.DataFrame({"photo": ["grün.jpg", name]}).to_csv(index=False))
    assert (tmp_path / "photos.csv").read_bytes().split() == [b"photo", "grün.jpg".encode(), b"caf\xe9.jpg"]


def test_a_link_stays_and_its_file_is_written(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file.txt").write_text("old")
    for target in ("there/file.txt", "there/new.txt"):
        link = tmp_path / Path(target).name
        link.symlink_to(target)
        write_atomically(link, "new")
        assert link.is_symlink() and (tmp_path / target).read_text() == "new"
    assert list_names(tmp_path / "there") == ["file.txt", "new.txt"]
