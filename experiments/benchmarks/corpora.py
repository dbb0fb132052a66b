"""The data of the benchmarks: MNIST and a transfer set beside it, or random images."""

import os
from pathlib import Path

import numpy as np
from safetensors.torch import save_file

from ...config import RunConfig
from ...config.overrides import merge
from ...data import build_federation, prepare
from ...data.decode import quiet
from ...errors import ConfigError
from .works import Job, Size


def mnist(folder: Path) -> tuple[str, str]:
    """Return MNIST, and a data set whose training samples are MNIST's official test split.

    All 60,000 training images are dealt to 100 clients of 600, so the transfer samples have to
    come from elsewhere.

    Raises
    ------
    ConfigError
        If ``$FEDKD_DATA_DIR/mnist`` has no Parquet files.
    """
    root = os.environ.get("FEDKD_DATA_DIR")
    found = sorted((Path(root) / "mnist").resolve().rglob("test*.parquet")) if root else []
    if not found:
        problem = "has no mnist folder of Parquet files; set it, or measure with --synthetic"
        raise ConfigError("FEDKD_DATA_DIR", root, problem)
    other = folder / "mnist_test"
    other.mkdir()
    for number, file in enumerate(found):
        (other / f"train-{number:05d}.parquet").symlink_to(file)
    return "mnist", str(other)


def synthetic(folder: Path, size: Size) -> tuple[str, str]:
    """Write random images of MNIST's shape as two data sets in hub layout."""
    rng = np.random.default_rng(0)
    counts = {"private": size.clients * size.samples, "shared": size.transfer}
    for name, count in counts.items():
        _write(folder / name / "train-00000-of-00001.parquet", rng, count)
        _write(folder / name / "test-00000-of-00001.parquet", rng, 20)
    private, shared = (str(folder / name) for name in counts)
    return private, shared


def _write(path: Path, rng: np.random.Generator, count: int) -> None:
    import datasets

    path.parent.mkdir(exist_ok=True)
    labels = datasets.ClassLabel(names=[str(digit) for digit in range(10)])
    kinds = datasets.Features({"image": datasets.Image(), "label": labels})
    images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    rows = {"image": list(images), "label": np.arange(count) % 10}
    with quiet():
        datasets.Dataset.from_dict(rows, features=kinds).to_parquet(str(path))


def write_tensors(job: Job, folder: Path, cache: str | None = None) -> Path:
    """Write the samples that fedkd would deal for this job as float32, for the plain loop.

    The file has ``x0 [samples, 1, 28, 28]`` and ``y0 [samples]`` for client 0 and so on, and
    ``transfer [samples, 1, 28, 28]``. Making it also decodes the data sets into fedkd's cache, so
    that no system has to when it is measured.

    Raises
    ------
    ConfigError
        If the data sets have too few samples for the job.
    """
    config = merge(RunConfig(), **job.settings())
    corpus, other = prepare(job.data, cache), prepare(job.transfer_data, cache, "transfer.data")
    federation = build_federation(config, corpus, other, folder)
    pairs = [federation.client(client) for client in range(federation.clients)]
    tensors = {f"x{client}": x for client, (x, _) in enumerate(pairs)}
    tensors |= {f"y{client}": y for client, (_, y) in enumerate(pairs)}
    path = folder / "samples.safetensors"
    save_file({**tensors, "transfer": federation.transfer()}, path)
    return path
