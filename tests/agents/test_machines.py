"""The machines as they are declared: nothing runs here."""

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Never

import pytest

from leverframe import LeverframeError, Machine
from machines.refund import refund
from machines.restock import restock
from machines.sales_report import sales_report
from states.refund import Declined, Limit, Read, Refund, Refunded
from states.sales_report import Day

MACHINES: Mapping[str, Machine[Never]] = {"refund": refund, "restock": restock, "sales_report": sales_report}


@pytest.mark.parametrize("name", MACHINES)
def test_a_machine_compiles_and_can_be_pinned(name: str) -> None:
    machine = MACHINES[name]
    assert set(machine.compiled.states) == set(machine.states)
    assert machine.definition(MACHINES).start == machine.start


def test_drawing_a_machine_loads_no_database_and_no_server() -> None:
    states = f"{Refund.__module__}, {Day.__module__}"
    heavy = ("sqlalchemy", "sqlmodel", "sqlite3", "smtplib", "http.server")
    code = f"import sys, {states}; print([name for name in {heavy} if name in sys.modules])"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.check_output([sys.executable, "-c", code], text=True, env=env) == "[]\n"


def test_every_example_of_the_prompt_replies_what_the_table_knows() -> None:
    (prompt,) = refund.prompts(refund.states["Triage"])  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    prompt.check({*Refund.model_fields, "memory", "window", "choices"}, {"issue_refund", "ask_customer", "decline", "escalate"})


def test_a_wrong_edge_is_refused_with_the_near_miss() -> None:
    with pytest.raises(LeverframeError, match=r"machine draft: state Limit: never ends in 'smal'.*Did you mean 'small'\?"):
        Machine("draft", memory=Refund, edges={Limit: {"smal": Refunded, "large": Refunded, "unfounded": Declined}})


@pytest.mark.parametrize(
    ("asked", "message", "answer", "outcome"),
    [
        (0, "Order 1042 arrived broken", None, "number"),
        (0, "It arrived broken", None, "none"),
        (0, "On 1 May 2026 I got order no. 1042, broken", None, "number"),
        (1, "It arrived broken", "1042, I think", "number"),
        (2, "It arrived broken", "no idea", "none"),
        (3, "It arrived broken", "no idea", "enough"),
        (3, "It arrived broken", "1042!", "number"),
        (4, "It arrived broken", "then 1043", "enough"),
    ],
)
def test_the_order_number_is_read_from_the_customers_words(asked: int, message: str, answer: str | None, outcome: str) -> None:
    assert Read().run(Refund(message=message, asked=asked, answer=answer)) == outcome
