"""How much the suite of broken machines covers: every code that a finding can have, and enough sound machines beside the broken ones."""

from leverframe.check.codes import CODES
from tests import repository, test_calls, test_check, test_data_flow, test_proofs

BROKEN: dict[str, set[str]] = {
    "structure and card": {one.code for one in test_check.BROKEN.values()},
    "calls": {finding.split()[0] for _, found in test_calls.BROKEN.values() for finding in found},
    "data": {finding.split()[0] for _, found in test_data_flow.BROKEN.values() for finding in found},
    "rules": {finding.split()[0] for _, _, finding in test_proofs.BROKEN},
}
"""The codes of the tables of broken machines; each of these is asserted with its place, and with its path where it has one."""
TESTED_ALONE = {
    "LF001": "test_check_definition.py",
    "LF002": "test_check_rooms.py",
    "LF003": "test_check.py",
    "LF004": "test_check_definition.py",
    "LF005": "test_card.py",
    "LF112": "test_check_rooms.py",
    "LF302": "test_calls.py",
    "LF309": "test_many_checks.py",
    "LF310": "test_many_checks.py",
    "LF401": "test_data_flow.py",
    "LF501": "test_bounds.py",
    "LF502": "test_bounds.py",
    "LF503": "test_bounds.py",
    "LF606": "test_proofs.py",
}
"""What needs files, a project or a table of its own, and where it is."""


def test_every_code_has_a_broken_machine() -> None:
    listed = set[str]().union(*BROKEN.values())
    assert set(CODES) == listed | set(TESTED_ALONE)


def test_what_is_tested_alone_is_asserted_where_it_is_said_to_be() -> None:
    for code, file in TESTED_ALONE.items():
        assert code in (repository.ROOT / "tests" / file).read_text("utf-8"), code


def test_there_are_at_least_sixty_broken_machines_and_twenty_sound_ones_that_look_like_them() -> None:
    modules = (test_check, test_calls, test_data_flow, test_proofs)
    assert sum(len(module.BROKEN) for module in modules) >= 60
    assert sum(len(module.SOUND) for module in modules) >= 20


def test_every_pattern_and_scope_of_rules_is_broken_somewhere() -> None:
    rules = [rule for _, rule, _ in test_proofs.BROKEN]
    patterns = {"absence", "existence", "universality", "bounded_existence", "precedence", "response"}
    assert patterns <= {str(rule["rule"]) for rule in rules}
    scopes = {tuple(sorted(scope)) for rule in rules if isinstance(scope := rule.get("scope"), dict)}
    assert scopes == {("after",), ("before",), ("after", "until"), ("after", "closed", "until")}
