"""What a window costs: `python -m benchmarks.window`.

For runs of 300, 1,000, 3,000 and 10,000 events and three budgets. `warm`: what a question costs in the process that holds the run, one new
event included; `made`: the window from its events, as a process does once that takes a run up. Milliseconds, the least of several rounds.
"""

import json
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from time import perf_counter

from leverframe.canon import Object
from leverframe.window import View, Window

LIMIT_MS = 20.0
LENGTHS = (300, 1_000, 3_000, 10_000)
BUDGETS = (2_000, 8_000, 32_000)


def event(number: int) -> tuple[str, Object]:
    """A run that finds, chooses, fails now and then, and talks; no two events say the same."""
    call: Object = {"tool_name": "find_order", "arguments": {"order_id": number}}
    match number % 6:
        case 0:
            result: Object = {"id": number, "article": f"desk lamp {number}", "paid": "129.00", "refundable": "45.50"}
            return "fetched", {"state": "LookUp", "calls": [{**call, "result": result}]}
        case 1:
            return "asked", {"state": "Triage", "call": call, "outcome": "find_order"}
        case 2 if number % 60 == 2:
            return "acted", {"state": "Pay", "tool_name": "pay", "outcome": "error", "error": {"cause": f"HTTP {number}"}}
        case 3 if number % 60 == 3:
            return "compacted", {"error": {"type": "NotDone", "source": "pay", "cause": f"HTTP {number} and line {number % 7}"}}
        case 4:
            reply: Object = {"intent": "answered", "text": f"Thank you, it is number {number}"}
            return "answered", {"state": "Customer", "by": "ann", "reply": reply}
        case _:
            return "acted", {"state": "Look", "tool_name": "look", "result": f"thing {number} is fine, and was so before"}


def filled(length: int) -> Window:
    window = Window()
    window.add("started", {"source": "api", "memory": {"message": "Order 1042 arrived broken, I want my money back"}})
    for number in range(1, length):
        window.add(*event(number))
    return window


def question(window: Window, numbers: Iterator[int], view: View) -> None:
    """What a question costs: what has happened since the last one, and the text."""
    window.add(*event(next(numbers)))
    window.text(view)


def least(rounds: int, work: Callable[[], object]) -> float:
    """The least time of several, in milliseconds."""
    times: list[float] = []
    for _ in range(rounds):
        start = perf_counter()
        work()
        times.append((perf_counter() - start) * 1000)
    return min(times)


def main() -> None:
    slow = 0.0
    for length in LENGTHS:
        made = least(3, partial(filled, length))
        for budget in BUDGETS:
            warm = least(30, partial(question, filled(length), count(length), View(budget)))
            slow = max(slow, warm if length == 3_000 else 0.0)
            print(
                json.dumps({"events": length, "budget": budget, "warm_ms": round(warm, 3), "made_ms": round(made, 1)}), flush=True
            )
    if slow > LIMIT_MS:
        raise SystemExit(f"a question of a run of 3,000 events takes {slow:.1f} ms; the limit is {LIMIT_MS:g} ms")


if __name__ == "__main__":
    main()
