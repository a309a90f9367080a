"""Files written whole, or not at all: a full disk leaves what was there before."""

import os
from pathlib import Path
from shutil import copymode


def write_whole(path: Path, text: str) -> None:
    """Raises OSError."""
    path = path.resolve()
    if path.exists() and not path.is_file():  # a pipe, a terminal: nothing of it could be kept
        path.write_text(text, "utf-8")
        return
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        half.write_text(text, "utf-8")
        if path.exists():
            copymode(path, half)
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)
