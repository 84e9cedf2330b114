"""One helper writes every file that must survive a kill: whole or not at all."""

import os

import pytest

from qllm_jax.files import replace_file, replace_text


def test_a_file_is_replaced_and_readable_by_others(tmp_path):
    path = tmp_path / "file"
    replace_text(path, "eins\n")
    replace_text(path, "zwei ≥ 0\n")
    assert path.read_text("utf-8") == "zwei ≥ 0\n"
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("fails", ["write", "fsync", "replace"])
def test_what_fails_leaves_the_old_file_and_nothing_beside_it(fails, tmp_path, monkeypatch):
    path = tmp_path / "file"
    replace_text(path, "old")

    def refuse(*_):
        raise OSError("disk full")

    def write(file):
        file.write(b"ne")
        if fails == "write":
            refuse()

    if fails != "write":
        monkeypatch.setattr(os, fails, refuse)
    with pytest.raises(OSError, match="disk full"):
        replace_file(path, write)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]
