"""Fixtures that every room's tests may use."""

import gc
import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("fedkd", deadline=None)  # the machine may be busy
settings.load_profile("fedkd")

os.environ["OMP_NUM_THREADS"] = "1"  # as many processes as cores run tests: more would wait

HERE = Path(__file__).parent

# Actors import the tests' modules, and what those import.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
)

PNG_CLASSES = ["circle", "cross", "square", "star"]


FIRST = (
    "engine/test_engines_agree.py",
    "test_cli_signals.py",
    "engine/test_warm.py",
    "test_endurance.py",
    "engine/test_actors_die.py",
    "test_check_plugged.py",
    "test_check.py",
    "test_study.py",
    "test_golden.py",
    "engine/test_timeout.py",
    "test_resume.py",
    "tasks/test_token_runs.py",
    "tasks/test_regression_runs.py",
    "distillation/test_in_runs.py",
    "strategies/test_kafal.py",
    "privacy/test_what_leaves.py",
    "data/test_holding.py",
    "test_text_runs.py",
    "test_doctests.py",
)
"""Files that take longest: a process that gets one of them last has the others wait for it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have long files begin, and the Flower engine's tests end each file.

    Actors that wait for the next run end where it is one of Flower's.
    """
    places = {path: place for place, path in enumerate(dict.fromkeys(i.path for i in items))}
    first = {HERE / name: place - len(FIRST) for place, name in enumerate(FIRST)}
    places |= {path: place for path, place in first.items() if path in places}
    items.sort(key=lambda item: (places[item.path], "flower" in item.name))


@pytest.fixture(autouse=True, scope="module")
def what_stays() -> None:
    """Spare the garbage collector what is imported by now: Flower calls it many times a round."""
    gc.freeze()


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have runs write report.html, which takes longer than a tiny run: most tests read none."""
    monkeypatch.setenv("FEDKD_REPORT", "1")


def write_png_folder(folder: Path, sizes: dict[str, int], shape: tuple[int, ...] = (8, 8)) -> Path:
    """Write noisy class-dependent images as PNG inside Parquet, in the hub's layout."""
    import datasets
    from PIL import Image

    rng = np.random.default_rng(7)
    folder.mkdir(parents=True, exist_ok=True)
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=PNG_CLASSES),
            "writer": datasets.Value("string"),
        }
    )
    patterns = rng.integers(0, 200, (len(PNG_CLASSES), *shape))
    for split, size in sizes.items():
        labels = np.arange(size) % len(PNG_CLASSES)
        pixels = (patterns[labels] + rng.integers(0, 56, (size, *shape))).astype(np.uint8)
        cells = []
        for image in pixels:
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, "PNG")
            cells.append({"bytes": buffer.getvalue(), "path": None})
        rows = {
            "image": cells,
            "label": labels.tolist(),
            "writer": [f"writer-{i % 5}" for i in range(size)],
        }
        table = datasets.Dataset.from_dict(rows, features=features)
        table.to_parquet(str(folder / f"{split}-00000-of-00001.parquet"))
        np.save(folder / f"{split}.npy", pixels)  # what a decoder must find
    return folder


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keep decoded data sets and the key of the tests away from the user's; write no reports."""
    path = tmp_path_factory.mktemp("cache")
    os.environ["FEDKD_CACHE_DIR"] = str(path)  # also for the worker processes that tests start
    os.environ["FEDKD_CONFIG_DIR"] = str(tmp_path_factory.mktemp("config"))
    os.environ["FEDKD_REPORT"] = "0"
    return path


@pytest.fixture(scope="session")
def png_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Parquet folder: 8x8 grey PNGs, 4 classes, 5 writers, 200 train and 80 test."""
    folder = tmp_path_factory.mktemp("data") / "shapes"
    return write_png_folder(folder, {"train": 200, "test": 80})


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """Return a function that finds a real data set, or skips; fails if FEDKD_DATA_DIR is set."""

    def find(name: str) -> Path:
        root = os.environ.get("FEDKD_DATA_DIR")
        if not root:
            pytest.skip("FEDKD_DATA_DIR is not set")
        if not list((Path(root) / name).glob("*.parquet")):
            pytest.fail(f"FEDKD_DATA_DIR is set and has no {name}")
        return Path(root) / name

    return find
