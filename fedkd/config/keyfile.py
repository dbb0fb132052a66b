"""The user's secret key: what is made with it can be told from what anybody else made."""

import logging
import os
import secrets
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp

log = logging.getLogger("fedkd")

BYTES = 32


def key_path() -> Path:
    """Return where the key is: in ``$FEDKD_CONFIG_DIR``, else ``$XDG_CONFIG_HOME/fedkd``.

    Without either it is in ``~/.config/fedkd``.
    """
    given = os.environ.get("FEDKD_CONFIG_DIR")
    folder = given or Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config") / "fedkd"
    return Path(folder).expanduser() / "key"


def read_key() -> bytes | None:
    """Return the key; None if there is none, or others can read it, so that it proves nothing."""
    try:
        with key_path().open("rb") as file:
            about, key = os.fstat(file.fileno()), file.read()
    except (OSError, RuntimeError):  # no home
        return None
    secret = about.st_mode & 0o077 == 0 and _is_mine(about)
    return key if secret and len(key) == BYTES else None


def _is_mine(about: os.stat_result) -> bool:
    return not hasattr(os, "geteuid") or about.st_uid == os.geteuid()


def make_key() -> bytes | None:
    """Return the key, made if there is none that could be used; None if it cannot be written."""
    key = read_key()
    if key is not None:
        return key
    try:
        path = key_path()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, staged = mkstemp(dir=path.parent)  # which only its owner can read
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_bytes(BYTES))
            if path.exists() and _is_mine(path.stat()):  # others can read it, or it is damaged
                path.unlink()
            with suppress(FileExistsError):  # another process was quicker, or it is another user's
                os.link(staged, path)
        finally:
            os.unlink(staged)
    except (OSError, RuntimeError) as error:
        log.info("run directories are not sealed: %s", error)
    return read_key()
