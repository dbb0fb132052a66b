"""Why clients' replies were not used: written into ``log.txt``, and read from there."""

import re
from pathlib import Path

LINE = "round %d: client %d rejected: %s"
"""What the log says of a reply that was not used: the round, the client, the reason."""

PATTERN = re.compile(r"round (\d+): client (\d+) rejected: (.*)")


def reasons(run_dir: Path) -> dict[tuple[int, int], str]:
    """Return why a reply was not used, by round and client; of a round run twice, the last.

    Empty where the log is missing.

    Examples
    --------
    >>> import tempfile
    >>> run_dir = Path(tempfile.mkdtemp())
    >>> _ = (run_dir / "log.txt").write_text("INFO " + LINE % (3, 7, "late: 20 s"))
    >>> reasons(run_dir)
    {(3, 7): 'late: 20 s'}
    """
    path = run_dir / "log.txt"
    if not path.is_file():
        return {}
    found = PATTERN.finditer(path.read_text(encoding="utf-8", errors="replace"))
    return {(int(one[1]), int(one[2])): one[3] for one in found}
