"""A report as text for terminals, as JSON, as annotations of a GitHub workflow, and as SARIF 2.1.0."""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from leverframe.canon import Json, Object
from leverframe.check.codes import CODES, Code
from leverframe.check.finding import Finding, Hop, Place
from leverframe.check.report import Report

# ── for terminals ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def text(report: Report) -> str:
    """One block for each finding, and at the end what was checked."""
    blocks = ["\n".join(map(plain, _block(one))) for one in report.findings]
    return "\n\n".join([*blocks, plain(summary(report))]) + "\n"


def _block(one: Finding) -> Iterator[str]:
    level = "accepted" if one.accepted is not None else one.level
    yield f"{one.place or 'everywhere'}: {one.code} {level}: {one.message}"
    for number, hop in enumerate(one.path, 1):
        yield f"  {number:>3}. {hop}"
    if one.accepted is not None:
        yield f"    accepted because: {' '.join(one.accepted.split())}"
    else:
        yield f"    to do: {one.remedy}"


def summary(report: Report) -> str:
    counts = ((report.errors, "error"), (report.warnings, "warning"))
    found = [f"{count} {word}{'' if count == 1 else 's'}" for count, word in counts if count]
    found += [f"{report.accepted} accepted"] if report.accepted else []
    looked = "; ".join(f"{one.machine} ({one.states} states, {one.edges} edges, {one.tools} tools)" for one in report.checked)
    number = len(report.checked)
    return (
        f"{', '.join(found) or 'nothing found'} in {number} machine{'' if number == 1 else 's'}{': ' if looked else ''}{looked}"
    )


def plain(words: str) -> str:
    """Nothing that a name or a message says can move the cursor."""
    return "".join(sign if sign.isprintable() else f"\\x{ord(sign):02x}" for sign in words)


# ── for programs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def as_json(report: Report) -> str:
    return json.dumps(report.json(), indent=2) + "\n"


# ── for GitHub ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def github(report: Report) -> str:
    """Workflow commands, which GitHub shows beside the line in a pull request; what is accepted is a notice."""
    lines = [_annotation(one) for one in report.findings]
    return "\n".join([*lines, _data(summary(report))]) + "\n"


def _annotation(one: Finding) -> str:
    level = "notice" if one.accepted is not None else one.level
    where = {"file": one.place.file, "line": str(one.place.line)} if one.place else {}
    properties = {**where, "title": f"{one.code} {CODES[one.code].title}" if one.code in CODES else one.code}
    given = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{level} {given}::{_data(_long(one))}"


def _long(one: Finding) -> str:
    """Everything there is to say, in lines."""
    steps = [f"{number}. {hop}" for number, hop in enumerate(one.path, 1)]
    last = f"Accepted because: {one.accepted}" if one.accepted is not None else f"To do: {one.remedy}"
    return "\n".join(map(plain, [one.message, *steps, last]))


def _data(words: str) -> str:
    """Escaped as the toolkit of GitHub's actions does it."""
    return words.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(words: str) -> str:
    return _data(words).replace(":", "%3A").replace(",", "%2C")


# ── SARIF ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

SARIF = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def sarif(report: Report, version: str) -> str:
    """One run of the tool, every code a rule; acceptances are suppressions in source, with their justification."""
    codes = sorted({*CODES, *(one.code for one in report.findings)})
    ranks = {code: number for number, code in enumerate(codes)}
    driver: Object = {
        "name": "leverframe check",
        "semanticVersion": version,
        "rules": [_rule(code, CODES.get(code)) for code in codes],
    }
    run: Object = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {"%SRCROOT%": {"description": {"text": "The root of the repository."}}},
        "invocations": [{"executionSuccessful": True}],
        "results": [_result(one, ranks[one.code]) for one in report.findings],
    }
    return json.dumps({"$schema": SARIF, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _rule(name: str, code: Code | None) -> Object:
    if code is None:
        return {"id": name}
    return {
        "id": name,
        "name": "".join(word.capitalize() for word in "".join(s if s.isalnum() else " " for s in code.title).split()),
        "shortDescription": {"text": code.title},
        "fullDescription": {"text": f"{code.title}. To do: {code.remedy}."},
        "help": {"text": f"To do: {code.remedy}."},
        "defaultConfiguration": {"level": code.level},
    }


def _result(one: Finding, rank: int) -> Object:
    result: Object = {
        "ruleId": one.code,
        "ruleIndex": rank,
        "level": "note" if one.accepted is not None else one.level,  # not every reader honours a suppression
        "message": {"text": _long(one)},
        "locations": [_location(one.place, (one.machine, one.state, one.outcome))],
        "partialFingerprints": {"leverframe/v1": _fingerprint(one)},
    }
    if one.path:
        steps: list[Json] = [{"location": _step(one.machine, hop)} for hop in one.path]
        result["codeFlows"] = [{"message": {"text": "The shortest way there."}, "threadFlows": [{"locations": steps}]}]
    if one.accepted is not None:
        result["suppressions"] = [{"kind": "inSource", "justification": one.accepted}]
    return result


# GitHub refuses a whole file for one location that is in no file, so everything that a check finds has a place.


def _step(machine: str, hop: Hop) -> Object:
    return {**_location(hop.place, (machine, hop.state, hop.outcome)), "message": {"text": str(hop)}}


def _location(place: Place | None, names: tuple[str | None, ...]) -> Object:
    told = [name for name in names if name]
    location: Object = {"logicalLocations": [{"fullyQualifiedName": " / ".join(told)}]} if told else {}
    if place is not None:
        location["physicalLocation"] = {"artifactLocation": _artifact(place.file), "region": {"startLine": place.line}}
    return location


def _artifact(file: str) -> Object:
    if Path(file).is_absolute():
        return {"uri": Path(file).as_uri()}
    return {"uri": quote(Path(file).as_posix()), "uriBaseId": "%SRCROOT%"}


def _fingerprint(one: Finding) -> str:
    """What stays the same when lines move."""
    return sha256("\0".join([one.code, one.machine, one.state or "", one.outcome or ""]).encode()).hexdigest()
