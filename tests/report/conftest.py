"""Synthetic run directories: the same files as a real run writes, from numbers a test chooses."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from fedkd.callbacks.base import RoundRecord
from fedkd.callbacks.tables import Tables
from fedkd.config import DataConfig, RunConfig
from fedkd.report import render
from fedkd.report.comparison import compare

PHASES = {"fit": 0.6, "fuse": 0.1, "distil": 0.2, "evaluate": 0.3}


class RunFactory:
    """Make run directories under one folder."""

    def __init__(self, root):
        self.root = Path(root)

    def __call__(
        self,
        name,
        strategy="knfu",
        local=(0.5, 0.8),
        overall=(0.3, 0.4),
        finished=True,
        weights=True,
        accuracies=None,
        bytes_up=1_000_000,
        parameters=None,
        **config,
    ):
        node = {"name": strategy, **(parameters or {})}
        made = RunConfig(strategy=node, rounds=len(local), **{"clients": 20} | config)
        path = self.root / name
        self._tables(path, made, local, overall, weights, accuracies, bytes_up)
        path.joinpath("config.yaml").write_text(yaml.safe_dump(made.to_dict()))
        rng = np.random.default_rng(0)
        shares = rng.dirichlet([0.1] * 10, made.clients)
        np.savez(path / "split.npz", histogram=np.round(200 * shares).astype(int))
        if finished:
            summary = self._summary(made, local, overall, bytes_up)
            path.joinpath("summary.json").write_text(json.dumps(summary))
        return path

    def _tables(self, path, config, local, overall, weights, accuracies, bytes_up):
        tables = Tables(path)
        histogram = np.random.default_rng(0).dirichlet([0.1] * 10, config.clients)
        for number, (own, every) in enumerate(zip(local, overall, strict=True), 1):
            scalars = {
                "participants": config.clients,
                "alma_local": own,
                "alma_local_std": 0.1,
                "alma_global": every,
                "alma_global_std": 0.05,
                "rejected": 0,
                "bytes_up": bytes_up // len(local),
                "bytes_down": bytes_up // len(local),
                **{f"seconds_{key}": value for key, value in PHASES.items()},
                "seconds": 1.25,
            }
            mixing = None
            if weights:
                near = np.exp(-6 * np.abs(histogram[:, None] - histogram[None]).sum(-1))
                mixing = torch.from_numpy(near / near.sum(1, keepdims=True)).float()
                scalars["effective_neighbours"] = float((1 / (mixing**2).sum(1)).mean())
            rows = []
            rng = np.random.default_rng([config.seed, number])
            for client in range(config.clients):
                for metric, mean in (("local", own), ("global", every)):
                    noise = 0.1 * rng.standard_normal()
                    value = accuracies[client] if accuracies else np.clip(mean + noise, 0, 1)
                    rows.append((client, metric, float(value)))
            packed = None if mixing is None else (list(range(config.clients)), mixing)
            tables.on_round(RoundRecord(number, len(local), scalars, rows, packed))
        tables.on_run_end(None, None)

    def _summary(self, config, local, overall, size):
        def alma(values, std):
            return {"last": values[-1], "best": max(v for v in values if v is not None), "std": std}

        rounds = len(local)
        return {
            "schema": 1,
            "strategy": config.strategy["name"],
            "data": config.data.name,
            "clients": config.clients,
            "rounds": rounds,
            "seed": config.seed,
            "engine": config.engine.name,
            "alma_local": alma(local, 0.1),
            "alma_global": alma(overall, 0.05),
            "rejected": 0,
            "restarts": 0,
            "bytes_up": size,
            "bytes_down": size,
            "seconds": {"total": 1.25 * rounds + 2.0, "startup": 2.0}
            | {key: value * rounds for key, value in PHASES.items()},
            "digest": "ab" * 32,
            "versions": {"fedkd": "0.1.0", "torch": "2.13.0"},
        }


@pytest.fixture
def make_run(tmp_path):
    return RunFactory(tmp_path)


@pytest.fixture(scope="package")
def pages(tmp_path_factory):
    """Return the report of one run, and of two with a client that diverged and one rejected."""
    make = RunFactory(tmp_path_factory.mktemp("pages"))
    settings = {"parameters": {"exchange": "logits", "beta": 1}, "clients": 20}
    one, two = make("one", weights=False), make("two", strategy="a_longer_name", **settings)
    marked(two, [(2, 3, "diverged"), (1, 5, "rejected"), (2, 5, "rejected")])
    runs = {"one": [one], "two": [make("knfu", clients=20), two]}
    return {name: render(each, make.root / f"{name}.html") for name, each in runs.items()}


def marked(path, rows):
    """Add rows (round, client, metric) to a run's clients."""
    table = pq.read_table(path / "clients.parquet")
    columns = [*zip(*[(*row, 1.0) for row in rows], strict=True)]
    names = ["round", "client", "metric", "value"]
    more = pa.table([pa.array(column) for column in columns], names=names).cast(table.schema)
    pq.write_table(pa.concat_tables([table, more]), path / "clients.parquet")


@pytest.fixture
def mark():
    return marked


@pytest.fixture(scope="module")
def make_shared(tmp_path_factory):
    """Make runs that all tests of a module read."""
    return RunFactory(tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Return a comparison of three methods, one with an odd name, in two settings, three seeds."""
    make = RunFactory(tmp_path_factory.mktemp("compared"))
    for alpha in (0.1, 1.0):
        for name, mean in (("fedmd", 0.5), ("knfu", 0.6), ("a_b|c%<i>", 0.4)):
            for seed, shift in enumerate((0.0, 0.011, 0.03)):
                noise = 0.001 * seed * (name != "fedmd")
                curve = {"local": (0.1, mean + shift + noise), "data": DataConfig(alpha=alpha)}
                make(f"{name[0]}-{alpha}-{seed}", name, seed=seed, **curve)
    given = {"by": "strategy", "over": "data.alpha", "metric": "alma_local"}
    return compare(make.root, baseline="fedmd", **given)
