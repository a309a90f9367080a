"""`kill -9`, for real and at random; see tests/real_kill.py."""

import json
import subprocess
import sys

import pytest

from tests import repository


@pytest.mark.long
def test_workers_that_are_killed_fifty_times_lose_nothing_and_double_nothing(database_url: str) -> None:
    command = [sys.executable, "-m", "tests.real_kill", database_url]
    done = subprocess.run(command, cwd=repository.ROOT, capture_output=True, text=True, timeout=540, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    print(found)
    assert (found["runs"], found["refunded"] + found["closed"], found["kills"]) == (100, 100, 50)
    assert found["kills_at_work"] >= 20
    assert (found["lost"], found["doubled"], found["unlisted"]) == (0, 0, 0)
