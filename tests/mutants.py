"""Plant faults in the product, one token at a time, and see whether the tests notice.

``make mutants`` draws files and places at random, changes an operator, a comparison, a boolean or
a number in a copy of the packages, and runs the tests that should fail then. What survives is
printed: a test is missing, or the token does not matter.
``make mutants MUTANTS='--count 10 --seed 3 fedkd/codecs'`` draws fewer, again, of one room.
"""

import argparse
import io
import os
import random
import shutil
import subprocess
import sys
import tokenize
from collections.abc import Iterator, Sequence
from keyword import iskeyword
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]

WATCHED = {
    "fedkd/codecs/*.py": "tests/test_codecs.py",
    "fedkd/distillation/*.py": "tests/distillation",
    "fedkd/knowledge/*.py": "tests/test_knowledge_admission.py tests/test_kinds_of_knowledge.py"
    " tests/test_arrays.py",
    "fedkd/maths/acquisition.py": "tests/test_acquisition.py",
    "fedkd/maths/picking.py": "tests/test_acquisition.py",
    "fedkd/maths/density.py": "tests/test_density.py",
    "fedkd/maths/[dm]i*.py": "tests/test_fusion_maths.py",
    "fedkd/maths/imbalance.py": "tests/test_compensation.py",
    "fedkd/maths/robust.py": "tests/strategies/test_robust_fusion.py",
    "fedkd/models/lowrank.py": "tests/test_lowrank.py",
    "fedkd/privacy/[a-m]*.py": "tests/privacy/test_privacy_accounting.py"
    " tests/privacy/test_audit.py tests/privacy/test_noise_mechanisms.py"
    " tests/privacy/test_inference_similarity.py",
    "fedkd/privacy/pate.py": "tests/privacy/test_pate_votes.py",
    "fedkd/privacy/scores.py": "tests/privacy/test_scores.py",
    "fedkd/secure/*.py": "tests/test_masking.py tests/test_secure_aggregation.py",
    "clients/samplers/*.py": "tests/clients/test_samplers.py",
    "clients/oracles/*.py": "tests/clients/test_oracles.py",
    "strategies/*.py": "tests/strategies/test_{stem}.py tests/strategies/test_{stem}_formula.py",
}
"""Product files, and the tests that should notice a fault there; those of them that exist."""

ALWAYS = "tests/test_golden.py"  # holds the parameters' defaults

CHANGES = {
    **{"==": "!=", "!=": "==", "<": "<=", "<=": "<", ">": ">=", ">=": ">"},
    **{"+": "-", "-": "+", "*": "/", "/": "*", "//": "/", "%": "*", "**": "*"},
    **{"and": "or", "or": "and", "True": "False", "False": "True", "+=": "-=", "-=": "+="},
}


def places(source: str) -> Iterator[tuple[int, int, str, str]]:
    """Yield line, column, token and what to put in its place."""
    before = ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        (line, column), text = token.start, token.string
        operand = before[-1:].isalnum() or before[-1:] in ("_", ")", "]")
        binary = token.type != tokenize.OP or (operand and not iskeyword(before))
        if text in CHANGES and binary:
            yield line, column, text, CHANGES[text]
        elif token.type == tokenize.NUMBER:
            yield line, column, text, "1" if text == "0" else f"({text} + 1)"
        before = text


def changed(source: str, place: tuple[int, int, str, str]) -> str:
    (line, column, old, new), lines = place, source.splitlines(keepends=True)
    text = lines[line - 1]
    lines[line - 1] = text[:column] + new + text[column + len(old) :]
    return "".join(lines)


def tests_of(file: Path, names: str) -> list[str]:
    """Return the tests that there are, after the file's own examples."""
    found = [name for name in names.format(stem=file.stem).split() if (ROOT / name).exists()]
    module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
    module = module if module.startswith("fedkd.") else f"fedkd.{module}"
    return found and [f"tests/test_doctests.py::test_examples_run[{module}]", *found]


def passes(copy: Path, tests: Sequence[str], seconds: float) -> bool:
    """Run tests against the copied packages; one that does not end has failed."""
    command = [Path(sys.executable).with_name("pytest"), *["-x", "-q", "-n", "0", "-m"], "not slow"]
    own = {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            [*command, "-p", "no:cacheprovider", ALWAYS, *tests],
            cwd=ROOT,
            env=os.environ | own,
            timeout=seconds,
            capture_output=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def copied(folder: Path) -> Path:
    """Copy the packages to where Python finds them before the installed ones."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "fedkd", folder / "fedkd", ignore=ignore)
    for name in ("strategies", "clients", "experiments"):
        shutil.copytree(ROOT / name, folder / "fedkd" / name, ignore=ignore)
    return folder


def main() -> None:
    """Draw, plant, run, and say what survived; exit with 1 if it is more than one in ten."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("under", nargs="*", help="folders or files to plant faults in")
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--seconds", type=float, default=600, help="limit of a run of tests")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    rng, sound = random.Random(given.seed), set()
    files = [(file, tests_of(file, WATCHED[p])) for p in WATCHED for file in ROOT.glob(p)]
    chosen = tuple(str(ROOT / name) for name in given.under or [""])
    pool = sorted(
        (file, place, tests)
        for file, tests in files
        if tests and str(file).startswith(chosen) and file.stem != "__init__"
        for place in places(file.read_text())
    )
    survivors, drawn = 0, rng.sample(pool, min(given.count, len(pool)))
    with TemporaryDirectory() as scratch:
        copy = copied(Path(scratch))
        for file, place, tests in drawn:
            name = file.relative_to(ROOT)
            there = copy / ("" if name.parts[0] == "fedkd" else "fedkd") / name
            if str(tests) not in sound and not passes(copy, tests, given.seconds):
                sys.exit(f"{' '.join(tests)}: fail without a fault")
            sound.add(str(tests))
            there.write_text(changed(file.read_text(), place))
            lives = passes(copy, tests, given.seconds)
            there.write_text(file.read_text())
            survivors += lives
            verdict = "SURVIVED" if lives else "noticed"
            print(f"{verdict:9}{name}:{place[0]}:{place[1]} {place[2]} -> {place[3]}", flush=True)
    print(f"{len(drawn) - survivors} of {len(drawn)} were noticed")
    sys.exit(survivors > len(drawn) / 10)


if __name__ == "__main__":
    main()
