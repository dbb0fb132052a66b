"""The data of the benchmarks: MNIST and a transfer set beside it, or random images."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.torch import save_file

from ...config import RunConfig
from ...config.overrides import merge
from ...data import build_federation, prepare
from ...data.decode import quiet
from ...errors import ConfigError
from .works import WORKS, Job, Size


class Dealt:
    """The data of every job, made once for all jobs that have the same.

    Parameters
    ----------
    folder : Path
        Where to write.
    random : bool
        Whether to draw images instead of taking MNIST's.
    """

    def __init__(self, folder: Path, random: bool) -> None:
        self.folder, self.random = folder, random
        # Random images are not worth keeping; MNIST stays decoded where it always is.
        self.cache = str(folder / "cache") if random else None
        self._made: dict[tuple[object, ...], Job] = {}

    def __call__(self, job: Job) -> Job:
        """Return the job with its data sets and tensors."""
        work = WORKS[job.work]
        if work.sweep:  # on data that fedkd brings along
            return job
        key = work.whole, tuple(job.size.items())
        if key not in self._made:
            folder = self.folder / str(len(self._made))
            folder.mkdir()
            size = Size(**job.size)
            data, other = synthetic(folder, size) if self.random else mnist(folder)
            made = replace(job, data=data, transfer_data=other)
            self._made[key] = replace(made, tensors=str(write_tensors(made, folder, self.cache)))
        made = self._made[key]
        return replace(job, data=made.data, transfer_data=made.transfer_data, tensors=made.tensors)


def mnist(folder: Path) -> tuple[str, str]:
    """Return MNIST, and a data set whose training samples are MNIST's official test split.

    Where all 60,000 training images are dealt to clients, 100 times 600, the transfer samples have
    to come from elsewhere.

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
    """Write random images of MNIST's shape as two data sets in hub layout.

    The first one has enough of them for a transfer set of its own, too.
    """
    rng = np.random.default_rng(0)
    counts = {
        "private": (size.clients * size.samples + size.transfer, size.test),
        "shared": (size.transfer, 20),
    }
    for name, (train, test) in counts.items():
        _write(folder / name / "train-00000-of-00001.parquet", rng, train)
        _write(folder / name / "test-00000-of-00001.parquet", rng, test)
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
    ``transfer [samples, 1, 28, 28]``; for whole runs also the test split, as ``test`` and
    ``truth``. Making it also decodes the data sets into fedkd's cache, so that no system has to
    when it is measured.

    Raises
    ------
    ConfigError
        If the data sets have too few samples for the job.
    """
    config = merge(RunConfig(), **job.settings())
    corpus, other = prepare(job.data, cache), None
    if config.transfer.data:
        other = prepare(config.transfer.data, cache, "transfer.data")
    federation = build_federation(config, corpus, other, folder)
    pairs = [federation.client(client) for client in range(federation.clients)]
    tensors = {f"x{client}": x for client, (x, _) in enumerate(pairs)}
    tensors |= {f"y{client}": y for client, (_, y) in enumerate(pairs)}
    if WORKS[job.work].whole:
        tensors["test"], tensors["truth"] = federation.test()
    path = folder / "samples.safetensors"
    save_file({**tensors, "transfer": federation.transfer()}, path)
    return path
