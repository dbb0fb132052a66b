"""Every method runs from the command line on MNIST, with the models of the zoo mixed if it can."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from fedkd.cli.app import app
from fedkd.plugins import available
from fedkd.rounds.protocol import Strategy

MIXED = "[mlp,lenet5,fedmd_cnn2,fedmd_cnn3,resnet8]"
SMALL = ["clients=6", "rounds=1", "engine=inline", "data.alpha=1", "data.samples_per_client=20"]
STRATEGIES = available("strategies", Strategy)
OWN = {"fedmrl": "[mlp,lenet5,resnet8]"}  # whose projectors of wide features would be huge

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
    model = OWN.get(name, MIXED) if several else cls.usual_model  # type: ignore[attr-defined]
    labels = str(cls.needs_labels).lower()  # type: ignore[attr-defined]
    given = [f"strategy={name}", f"data={small_mnist}", f"model={model}", f"run_dir={tmp_path}/run"]
    more = ["transfer.size=40", f"transfer.labelled={labels}"]
    more += [f"strategy.{key}={value}" for key, value in cls.brief.items()]  # type: ignore[attr-defined]
    done = CliRunner().invoke(app, ["run", *given, *SMALL, *more])
    assert done.exit_code == 0, done.output
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["rejected"] == 0
    assert 0 < summary["alma_global"]["last"] <= 1
