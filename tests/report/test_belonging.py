"""What a comparison says of runs of a frozen study."""

import shutil
from pathlib import Path

import pytest
from support import fedkd

from fedkd.report.comparison import compare

SMALL = ["clients=3", "rounds=1", "data.samples_per_client=20", "transfer.size=40", "engine=inline"]


@pytest.fixture
def frozen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a frozen study of two finished runs."""
    monkeypatch.setattr("fedkd.report.render", lambda runs, out=None: out)
    words = ["strategy=local", "seed=0,1", f"run_dir={tmp_path}/study"]
    assert fedkd("run", "-m", *SMALL, *words, "--freeze").exit_code == 0
    return tmp_path / "study"


def test_a_comparison_says_which_runs_belong_to_a_frozen_study(frozen: Path) -> None:
    def said(*paths: Path) -> list[str]:
        return [note for note in compare(paths, by="strategy").notes if "frozen" in note]

    (whole,) = said(frozen)
    assert whole.endswith("all of its runs are here, and all these runs belong to it")
    assert "all these runs belong to it" in " ".join(fedkd("compare", frozen).stdout.split())

    free = frozen.parent / "seed-2"
    fedkd("run", *SMALL, "strategy=local", "seed=2", f"run_dir={free}")
    assert said(frozen, free) == [whole, "1 of the runs is of no frozen study"]
    assert said(free) == []

    shutil.move(free, frozen / "late")
    (frozen / "seed-1" / "summary.json").unlink()
    (note,) = said(frozen)
    assert "here and not of it (1): late: its configuration is none of the frozen ones" in note
    assert "of it and not here, or not finished (1): seed-1" in note


def test_a_comparison_trusts_no_manifest_that_was_edited(frozen: Path) -> None:
    file = frozen / "manifest.json"
    file.write_text(file.read_text().replace("digits", "digitz"))
    found = compare(frozen, by="strategy")
    assert [n for n in found.notes if "belong to the frozen study is not known: study=" in n]
