"""Every method runs from the command line on MNIST, with architectures mixed if it can."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from fedkd.cli.app import app
from fedkd.plugins import available
from fedkd.rounds.protocol import Strategy

MIXED = "[mlp,lenet5]"
ZOO = "[mlp,lenet5,fedmd_cnn2,fedmd_cnn3,resnet8]"
"""Of one method: on pictures of this size convolutions take ten times as long as all the rest."""
SMALL = ["rounds=1", "engine=inline", "data.alpha=1", "data.samples_per_client=20"]
STRATEGIES = available("strategies", Strategy)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def small_mnist(real_data: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the first images of MNIST: evaluation takes all test images."""
    folder = tmp_path_factory.mktemp("mnist")
    for split, rows in (("train", 1500), ("test", 40)):
        file = next(real_data("mnist").glob(f"{split}*.parquet"))
        pq.write_table(pq.read_table(file).slice(0, rows), folder / f"{split}.parquet")
    return folder


@pytest.mark.parametrize("name", STRATEGIES)
def test_it_runs(name: str, small_mnist: Path, tmp_path: Path) -> None:
    cls = STRATEGIES[name]
    several = not cls.homogeneous and cls.usual_model == "mlp"  # type: ignore[attr-defined]
    model = MIXED if several else cls.usual_model  # type: ignore[attr-defined]
    works(name, small_mnist, tmp_path, f"model={model}", "clients=3")


def test_so_do_five_architectures_at_once(small_mnist: Path, tmp_path: Path) -> None:
    works("fedmd", small_mnist, tmp_path, f"model={ZOO}", "clients=5")


def works(name: str, small_mnist: Path, tmp_path: Path, *more: str) -> None:
    cls = STRATEGIES[name]
    labels = str(cls.needs_labels).lower()  # type: ignore[attr-defined]
    given = [f"strategy={name}", f"data={small_mnist}", f"run_dir={tmp_path}/run", *more]
    given += ["transfer.size=40", f"transfer.labelled={labels}"]
    given += [f"strategy.{key}={value}" for key, value in cls.brief.items()]  # type: ignore[attr-defined]
    done = CliRunner().invoke(app, ["run", *given, *SMALL])
    assert done.exit_code == 0, done.output
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["rejected"] == 0
    assert 0 < summary["alma_global"]["last"] <= 1
