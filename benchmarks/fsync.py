"""Runs a command whose syncs take a fixed time and are counted, on any disk: `python -m benchmarks.fsync --us 4000 -- COMMAND …`.

The work is done by fsync_shim.c, compiled here with the machine's C compiler. A benchmark that wants to leave its set-up out of
the count reads `count()` before and after, from inside the command.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("fsync_shim.c")
COUNT_FILE, SLEEP = "FSYNC_COUNT_FILE", "FSYNC_SLEEP_US"


@dataclass(frozen=True, slots=True)
class Outcome:
    code: int
    syncs: int
    seconds: float
    output: str  # empty unless captured


def count() -> int:
    """The syncs so far, of all processes under this shim; for use inside the command."""
    path = os.environ.get(COUNT_FILE)
    if path is None:
        raise RuntimeError("not under the shim: start this with `python -m benchmarks.fsync --us 4000 -- …`")
    return int.from_bytes(Path(path).read_bytes()[:8], sys.byteorder)


def run(command: Sequence[str], *, sleep_us: int | None, capture: bool = False) -> Outcome:
    """Run the command; each of its syncs sleeps that long instead (None: really syncs) and is counted."""
    with tempfile.TemporaryDirectory(prefix="fsync-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL runs as another user when we are root
        counts = Path(folder, "count")
        counts.write_bytes(bytes(4096))
        counts.chmod(0o666)
        env = {**os.environ, "LD_PRELOAD": str(_build(Path(folder))), COUNT_FILE: str(counts)}
        env |= {} if sleep_us is None else {SLEEP: str(sleep_us)}
        start = time.perf_counter()
        done = subprocess.run(command, env=env, text=True, stdout=subprocess.PIPE if capture else None, check=False)
        seconds = time.perf_counter() - start
        return Outcome(done.returncode, int.from_bytes(counts.read_bytes()[:8], sys.byteorder), seconds, done.stdout or "")


def measured(module: str, *inside: str, sleep_us: int) -> dict[str, str | float]:
    """The figures that one measurement of a benchmark prints as its last line; in a process of its own, with syncs that take so long."""
    done = run([sys.executable, "-m", module, "--inside", *inside], sleep_us=sleep_us, capture=True)
    if done.code:
        raise SystemExit(done.code)
    found: dict[str, str | float] = json.loads(done.output.strip().splitlines()[-1])
    return found


def _build(folder: Path) -> Path:
    target = folder / "fsync_shim.so"
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(target), str(SOURCE), "-ldl"], check=True)
    return target


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--us", type=int, help="microseconds each sync takes; 0: none; left out: real syncs")
    parser.add_argument("command", nargs="+", metavar="COMMAND")
    given = parser.parse_args()
    done = run(given.command, sleep_us=given.us)
    print(f"{done.syncs} syncs in {done.seconds:.2f} s", file=sys.stderr)
    return done.code


if __name__ == "__main__":
    sys.exit(main())
