"""What people install: the wheel is whole, takes no foreign names, and works from anywhere."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


def call(*command, **options):
    words = [str(word) for word in command]
    options |= {"capture_output": True, "text": True, "timeout": 240}
    done = subprocess.run(words, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build a wheel of what git knows of, in a folder of its own."""
    source = tmp_path_factory.mktemp("checkout")
    for name in call("git", "ls-files", "-co", "--exclude-standard", cwd=ROOT).split():
        if (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q"]
    call(*build, "-w", out, source)
    return next(out.glob("*.whl"))


def test_the_wheel_is_whole_and_takes_no_foreign_names(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"fedkd"}
    rooms = {"fedkd": "fedkd", "strategies": "fedkd/strategies", "clients": "fedkd/clients"}
    for room, prefix in {**rooms, "experiments": "fedkd/experiments"}.items():
        wanted = {str(p.relative_to(ROOT / room)) for p in (ROOT / room).rglob("*.py")}
        wanted |= {str(p.relative_to(ROOT / room)) for p in (ROOT / room).rglob("*.yaml")}
        missing = {f"{prefix}/{name}" for name in wanted} - set(names)
        assert not missing
    assert "fedkd/py.typed" in names
    assert "fedkd/report/page.html.j2" in names


def test_an_installed_wheel_runs_the_demo_from_another_folder(wheel, tmp_path):
    environment = tmp_path / "env"
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q"]
    call(*pip, "--no-deps", "--no-index", wheel)
    here = Path(
        call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    )
    # The dependencies are this environment's; fedkd itself, installed editable, is not seen: what a
    # .pth file leads to is searched for packages and not for further .pth files.
    dependencies = [path for path in sys.path if path.endswith("site-packages")]
    (here / "dependencies.pth").write_text("\n".join(dependencies))
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    rooms = "fedkd, fedkd.strategies, fedkd.clients, fedkd.experiments"
    files = call(
        python, "-c", f"import {rooms}; print(*[m.__file__ for m in ({rooms})])", cwd=folder
    )
    assert all(Path(file).is_relative_to(here) for file in files.split())
    sizes = ["clients=5", "rounds=1", "fit.epochs=1", "engine.actors=1", "run_dir=sweep"]
    methods = "strategy=local,{name:knfu,exchange:logits,beta:1}"
    command = [environment / "bin" / "fedkd", "run", "-m", "experiment=demo", methods, *sizes]
    assert "ALMA" in call(*command, cwd=folder)
    assert (folder / "sweep" / "report.html").exists()
    assert len(list((folder / "sweep").glob("*/summary.json"))) == 2
