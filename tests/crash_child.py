"""A real process that really dies at one point of the crash matrix: `python -m tests.crash_child URL WAY KEY POINT`."""

import os
import sys

import tools
from leverframe.testing import CrashPoints
from machines.refund import refund
from tests.crashes import WAYS, model_of, scenario

DIED = 137

if __name__ == "__main__":
    url, name, key, point = sys.argv[1:]
    (way,) = [way for way in WAYS if way.name == name]
    tools.prepare(url)
    CrashPoints(url, [refund], llm=model_of(way), at={int(point)}, stop=lambda: os._exit(DIED)).run(scenario(way, key))
