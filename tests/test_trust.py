"""A run directory is data: code that somebody else's names is not executed unasked."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import fedkd
from fedkd import ConfigError
from fedkd.cli.app import app
from fedkd.config.keyfile import key_path, make_key, read_key
from fedkd.config.trust import outside, sealed

ROOT = Path(__file__).parents[1]
SMALL = ["clients=4", "rounds=1", "engine=inline", "record.knowledge=true", "checkpoint.every=1"]
MINE = """
from pathlib import Path
from fedkd.strategies import FusionStrategy

Path(__file__).with_name("marker").touch()

class Mine(FusionStrategy):
    def fuse(self, knowledge):
        return knowledge.soft_labels.mean(dim=0)
"""


def command(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(done, *words):
    assert done.exit_code == 2, done.output
    (line,) = done.stderr.strip().splitlines()
    assert "trust=true" in line
    for word in words:
        assert word in line


@pytest.fixture
def mine(tmp_path):
    """Return a plug-in that leaves a file where it was executed."""
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path / "mine.py"


@pytest.fixture
def own(mine, tmp_path):
    """Return a finished run of the user's own that names the plug-in."""
    done = command("run", *SMALL, f"strategy={mine}:Mine", f"run_dir={tmp_path}/own")
    assert done.exit_code == 0, done.output
    mine.with_name("marker").unlink()
    mine.write_text(MINE + "\n")  # an edited plug-in is the user's business, and executed anew
    return tmp_path / "own"


@pytest.fixture
def somebody_else(monkeypatch, tmp_path):
    monkeypatch.setenv("FEDKD_CONFIG_DIR", str(tmp_path / "somebody"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Return a finished run that names nothing outside fedkd."""
    run_dir = tmp_path_factory.mktemp("plain") / "run"
    assert command("run", *SMALL, "strategy=fedmd", f"run_dir={run_dir}").exit_code == 0
    return run_dir


def test_ones_own_run_goes_on_without_a_question(own, mine):
    assert command("run", f"resume={own}", "rounds=2").exit_code == 0
    assert mine.with_name("marker").exists()
    assert command("run", f"resume={own}", "rounds=3").exit_code == 0
    assert fedkd.resume(own, rounds=4).summary["rounds"] == 4
    assert command("attack", own, "--attack", "label_distribution").exit_code == 0


def test_somebody_elses_is_asked_for(own, mine, somebody_else):
    refused(command("run", f"resume={own}", "rounds=2"), f"strategy={mine}:Mine")
    with pytest.raises(ConfigError, match="trust=true"):
        fedkd.resume(own, rounds=2)
    assert not mine.with_name("marker").exists()
    named = command("run", f"resume={own}", "rounds=2", f"strategy={mine}:Mine")
    assert named.exit_code == 0, named.output
    assert mine.with_name("marker").exists()


def test_trust_is_given_once(own, mine, somebody_else):
    assert command("run", f"resume={own}", "rounds=2", "trust=true").exit_code == 0
    assert mine.with_name("marker").exists()
    assert sealed(own)
    saved = yaml.safe_load((own / "config.yaml").read_text())
    assert saved["trust"] is False
    assert fedkd.resume(own, rounds=3).summary["rounds"] == 3


def edited(run_dir, tmp_path, **changes):
    """Return a copy of a run with other values in its configuration and its spec."""
    copy = Path(shutil.copytree(run_dir, tmp_path / "edited"))
    config = yaml.safe_load((copy / "config.yaml").read_text()) | changes
    (copy / "config.yaml").write_text(yaml.safe_dump(config))
    spec = json.loads((copy / "spec.json").read_text())
    spec |= {key: value for key, value in changes.items() if key in spec and key != "data"}
    (copy / "spec.json").write_text(json.dumps(spec))
    return copy


def places(mine):
    """Return every place of a configuration that names code, naming this."""
    named = {"name": f"{mine}:Mine"}
    return {
        **dict.fromkeys(
            ("strategy", "objective", "client", "attack", "compress", "sampler", "oracle"), named
        ),
        "privacy": {"name": ["label_only", f"{mine}:Mine"]},
        "model": ["mlp", f"{mine}:Mine"],
    }


@pytest.mark.parametrize("key", places("x"))
def test_an_edited_directory_is_somebody_elses_wherever_it_names_code(key, plain, mine, tmp_path):
    copy = edited(plain, tmp_path, trust=True, force=True, **{key: places(mine)[key]})
    refused(command("run", f"resume={copy}"), f"{key}={mine}:Mine")
    refused(command("run", f"resume={copy}", "rounds=2", "--dry-run"), f"{key}={mine}:Mine")
    if key != "strategy":  # no part of the clients
        refused(command("attack", copy, "--attack", "membership"), f"{key}={mine}:Mine")
    assert command("report", copy).exit_code == 0
    assert command("compare", copy, plain, "--out", tmp_path / "compared.html").exit_code == 0
    assert not mine.with_name("marker").exists()


DISGUISED = {
    "partitioner": {"data": {"name": "digits", "partitioner": {"_target_": "mine.Mine"}}},
    "parameter": {"strategy": {"name": "fedgems", "model": "mine:Mine"}},
    "reference": {"strategy": {"name": "${transfer.data}"}, "transfer": {"data": "mine:Mine"}},
    "fedkd.py": {"strategy": {"name": "fedkd.py:Mine"}},
    "folder": {"model": "fedkd.x/mine.py:Mine"},
    "cluster": {"engine": {"name": "ray", "address": "192.0.2.1:6379"}},
    "client": {"engine": {"name": "ray", "address": "ray://192.0.2.1:10001"}},
}


@pytest.mark.parametrize("case", DISGUISED)
def test_no_disguise_helps(case, plain, mine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fedkd.py").write_text(MINE)
    refused(command("run", f"resume={edited(plain, tmp_path, **DISGUISED[case])}"))
    assert not mine.with_name("marker").exists()


def test_escape_sequences_do_not_reach_the_terminal(plain, tmp_path):
    copy = edited(plain, tmp_path, model="\x1b[2Jmine:Mine" + "x" * 5000)
    done = command("run", f"resume={copy}")
    refused(done, "mine:Mine")
    assert "\x1b" not in done.stderr
    assert len(done.stderr) < 1000


@pytest.mark.usefixtures("somebody_else")
def test_what_comes_with_fedkd_needs_no_trust(tmp_path):
    for number, strategy in enumerate(
        ("fedkd.experiments.plugins.nearest:Nearest", "flwr.serverapp.strategy:FedAvgM")
    ):
        run_dir = tmp_path / str(number)
        made = command("run", *SMALL, f"strategy={strategy}", f"run_dir={run_dir}")
        assert made.exit_code == 0, made.output
        (run_dir / ".seal").unlink()
        assert command("run", f"resume={run_dir}", "rounds=2").exit_code == 0


def test_the_same_name_of_another_file_is_not_the_same(mine, tmp_path, monkeypatch):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    shutil.copy(mine, tmp_path / "package" / "code.py")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("./mine.py:Mine", "package.code:Mine")):
        done = command("run", *SMALL, f"strategy={name}", f"run_dir={tmp_path}/{number}")
        assert done.exit_code == 0, done.output
        assert sealed(tmp_path / str(number))
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    shutil.copytree(tmp_path / "package", "package")
    shutil.copy(mine, "mine.py")
    monkeypatch.delitem(sys.modules, "package")
    assert not sealed(tmp_path / "0")
    assert not sealed(tmp_path / "1")


def test_code_inside_of_the_directory_comes_with_it(mine, tmp_path):
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    shutil.copy(mine, run_dir / "mine.py")
    done = command("run", *SMALL, f"strategy={run_dir}/mine.py:Mine", f"run_dir={run_dir}")
    assert done.exit_code == 0, done.output
    refused(command("run", f"resume={run_dir}", "rounds=2"))


def test_a_result_needs_no_trust(mine, monkeypatch, tmp_path):
    (tmp_path / "no folder").touch()
    monkeypatch.setenv("FEDKD_CONFIG_DIR", str(tmp_path / "no folder"))
    settings = {"clients": 4, "rounds": 1, "engine": "inline", "record.knowledge": True}
    result = fedkd.simulate(f"{mine}:Mine", objective="fedkd.distillation.kl:KL", **settings)
    assert not sealed(result.run_dir)
    assert fedkd.attack(result, "label_distribution").results


def test_the_key_is_for_its_user_alone(monkeypatch, tmp_path):
    monkeypatch.delenv("FEDKD_CONFIG_DIR")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert key_path() == tmp_path / "fedkd" / "key"
    assert read_key() is None
    key = make_key()
    assert make_key() == read_key() == key
    assert key_path().stat().st_mode & 0o777 == 0o600
    assert key_path().parent.stat().st_mode & 0o777 == 0o700
    assert os.listdir(key_path().parent) == ["key"]
    key_path().chmod(0o644)
    assert read_key() is None
    assert make_key() not in (None, key)
    key_path().write_bytes(b"short")
    assert len(make_key()) == 32


@pytest.mark.parametrize(
    ("name", "doors"),
    [
        (
            "load_object",
            {
                "data/partitioners",
                "models/specs",
                "plugins/__init__",
                "plugins/finding",
                "plugins/loading",
                "plugins/seam",
                "plugins/table",
                "run/making",
            },
        ),
        ("resolve_name", {"data/partitioners"}),
        ("exec_module", {"plugins/loading"}),
        ("allow_pickle=True", set()),
        ("torch.load", set()),
        (r"pickle\.load", set()),
        ("yaml.load|full_load|unsafe_load", {"config/yamls"}),  # with the safe loader
        (r"\beval\(['\"a-z]|\bexec\(", set()),
    ],
)
def test_there_are_no_other_doors(name, doors):
    """Whoever adds one sees to it that `outside` knows what goes through it."""
    files = [
        path for room in ("fedkd", "strategies", "clients") for path in (ROOT / room).rglob("*.py")
    ]
    found = {str(path.relative_to(ROOT)) for path in files if re.search(name, path.read_text())}
    assert found == {f"fedkd/{door}.py" for door in doors}


def test_every_name_that_a_run_imports_is_known(monkeypatch, tmp_path):
    """All that a run with a plug-in in every place has imported is found in its directory."""
    from fedkd.data import partitioners
    from fedkd.plugins import finding as plugins
    from fedkd.plugins import loading

    asked = set()

    def load(spec, key="strategy"):
        asked.add(spec)
        return loading.load_object(spec, key)

    monkeypatch.setattr(plugins, "load_object", load)
    monkeypatch.setattr(partitioners, "load_object", load)
    result = fedkd.simulate(
        "fedkd.strategies.knfu:KnFu",
        model="fedkd.models.mlp:MLP",
        clients=3,
        rounds=1,
        engine="inline",
        objective="fedkd.distillation.kl:KL",
        client="fedkd.clients.standard:Standard",
        attack="fedkd.clients.attacks.none:NONE",
        privacy={"name": ["fedkd.clients.privacy.label_only:LabelOnly"]},
        **{"data.partitioner": "flwr_datasets.partitioner:IidPartitioner"},
    )
    config = yaml.safe_load((result.run_dir / "config.yaml").read_text())
    ours = re.compile(r"(fedkd|flwr_datasets)\.")
    hidden = ours.sub("elsewhere.", json.dumps(config))
    known = {what for _, what in outside(json.loads(hidden))}
    assert any("IidPartitioner" in spec for spec in asked)
    assert {ours.sub("elsewhere.", spec) for spec in asked} <= known
