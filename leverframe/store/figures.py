"""What the log says of prompts, counted by the database: calls, how runs ended, what people changed, how far shadows agreed.

Every question reads the events of the runs that started since a moment (an index finds those runs), and gives a row for each version of a
prompt or tool, however many runs there were. The texts are for both databases; only the way into JSON differs.
"""

# ruff: noqa: S608 (the parts of these texts are all ours)
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, text

from leverframe.clock import Micros
from leverframe.store.database import READING, refusals

# What was asked before a window that overflowed said of which prompt has no name, and belongs to none.
_ASKED = """WITH asked AS (
    SELECT * FROM (
        SELECT e.run_id, e.seq, e.at, r.status, {doc:e.body} AS doc FROM runs r JOIN events e ON e.run_id = r.id
        WHERE r.created_at >= :since AND e.type = 'asked'
    ) every WHERE {word:doc:prompt.name} IS NOT NULL
)"""
_SHADOWED = """, shadowed AS (
    SELECT asked.run_id, asked.seq, asked.at, {word:doc:prompt.name} AS name, s.key AS variant, s.value AS doc
    FROM asked, {each:doc:shadow} s
)"""
_DECIDED = """, decided AS (
    SELECT d.run_id, d.seq, d.type, {doc:d.body} AS doc,
        (SELECT max(c.seq) FROM events c WHERE c.run_id = d.run_id AND c.seq < d.seq AND c.type IN ('asked', 'built')) AS chosen,
        (SELECT max(c.seq) FROM events c WHERE c.run_id = d.run_id AND c.seq < d.seq AND c.type = 'edited') AS changed
    FROM runs r JOIN events d ON d.run_id = r.id WHERE r.created_at >= :since AND d.type IN ('decided', 'edited')
)"""
_SPENT = """sum(COALESCE({number:doc:usage.input_tokens}, 0)) AS input_tokens,
    sum(COALESCE({number:doc:usage.output_tokens}, 0)) AS output_tokens, sum(COALESCE({number:doc:usage.cost}, 0)) AS cost,
    min(at) AS first, max(at) AS last"""
_SENT = "{word:doc:prompt.budget} IS NOT NULL"  # not where the window overflowed
_CALLS = f"""{_ASKED}
SELECT {{word:doc:prompt.name}} AS name, {{word:doc:prompt.variant}} AS variant, COALESCE({{word:doc:prompt.hash}}, '') AS hash,
    sum(CASE WHEN {_SENT} THEN 1 ELSE 0 END) AS calls,
    sum(CASE WHEN {_SENT} AND {{word:doc:usage.cost}} IS NULL THEN 1 ELSE 0 END) AS unpriced,
    sum(CASE WHEN {{word:doc:outcome}} = 'error' THEN 1 ELSE 0 END) AS errors, {_SPENT}
FROM asked GROUP BY 1, 2, 3"""
_ENDED = f"""{_ASKED}, told AS (
    SELECT DISTINCT run_id, status, {{word:doc:prompt.name}} AS name, {{word:doc:prompt.variant}} AS variant FROM asked
)
SELECT name, variant, status, count(*) AS runs FROM told GROUP BY 1, 2, 3"""
_PEOPLE = f"""{_ASKED}{_DECIDED}
SELECT {{word:asked.doc:prompt.name}} AS name, {{word:asked.doc:prompt.variant}} AS variant,
    sum(CASE WHEN d.type = 'edited' THEN 1 ELSE 0 END) AS edited,
    sum(CASE WHEN {{word:d.doc:outcome}} = 'approved' THEN 1 ELSE 0 END) AS approved,
    sum(CASE WHEN {{word:d.doc:outcome}} = 'rejected' THEN 1 ELSE 0 END) AS rejected
FROM decided d JOIN asked ON asked.run_id = d.run_id AND asked.seq = d.chosen GROUP BY 1, 2"""
_SHADOWS = f"""{_ASKED}{_SHADOWED}
SELECT name, variant, {{word:doc:hash}} AS hash, {_SPENT}, count(*) AS calls,
    sum(CASE WHEN {{word:doc:usage.cost}} IS NULL THEN 1 ELSE 0 END) AS unpriced,
    sum(CASE WHEN {{word:doc:late}} IS NOT NULL THEN 1 ELSE 0 END) AS late,
    sum(CASE WHEN {{word:doc:error}} IS NOT NULL THEN 1 ELSE 0 END) AS errors,
    sum(CASE WHEN {{word:doc:same}} IS NOT NULL THEN 1 ELSE 0 END) AS compared,
    sum(CASE WHEN {{true:doc:same_intent}} THEN 1 ELSE 0 END) AS same_intent,
    sum(CASE WHEN {{true:doc:same}} THEN 1 ELSE 0 END) AS same
FROM shadowed GROUP BY 1, 2, 3"""
# What people did is the right answer: what they edited it to; what they approved as it was; of what they rejected, anything else.
# Of an answer with several calls the first is judged: those that follow are decided once a call before them was executed, and what a
# shadow would have said by then nobody knows.
_SAME = (
    "{part:s.doc:call.arguments} = {part:%s.doc:call.arguments} AND {word:s.doc:call.tool_name} = {word:%s.doc:call.tool_name}"
)
_AS_ASKED, _AS_EDITED = _SAME.replace("%s", "a"), _SAME.replace("%s", "d")
_JUDGED = f"""{_ASKED}{_SHADOWED}{_DECIDED}
SELECT s.name, s.variant, count(*) AS judged, sum(CASE
    WHEN d.type = 'edited' THEN CASE WHEN {_AS_EDITED} THEN 1 ELSE 0 END
    WHEN {{word:d.doc:outcome}} = 'approved' THEN CASE WHEN {_AS_ASKED} THEN 1 ELSE 0 END
    ELSE CASE WHEN {_AS_ASKED} THEN 0 ELSE 1 END END) AS agreed
FROM decided d JOIN shadowed s ON s.run_id = d.run_id AND s.seq = d.chosen JOIN asked a ON a.run_id = s.run_id AND a.seq = s.seq
WHERE {{word:s.doc:intent}} IS NOT NULL AND (d.changed IS NULL OR d.changed < d.chosen) AND NOT EXISTS (
    SELECT 1 FROM events e WHERE e.run_id = d.run_id AND e.seq > d.chosen AND e.seq < d.seq AND e.type = 'acted'
) GROUP BY 1, 2"""
_FIRST = """WITH chosen AS (
    SELECT r.id, (SELECT min(e.seq) FROM events e WHERE e.run_id = r.id AND e.type = 'asked') AS seq
    FROM runs r WHERE r.machine = :machine AND r.created_at >= :since
), picked AS (
    SELECT {doc:e.body} AS doc FROM chosen c JOIN events e ON e.run_id = c.id AND e.seq = c.seq
)
SELECT {word:doc:state} AS state, {word:doc:call.tool_name} AS tool, count(*) AS runs FROM picked GROUP BY 1, 2"""


@dataclass(frozen=True, slots=True)
class PromptFigures:
    """Rows by name, each a mapping of columns to what was counted; `variant` is in every one of them."""

    calls: Sequence[Mapping[str, Any]]  # by hash, too: first and last seen, calls, errors, tokens, cost
    ended: Sequence[Mapping[str, Any]]  # runs by status
    people: Sequence[Mapping[str, Any]]  # edited, approved, rejected
    shadows: Sequence[Mapping[str, Any]]  # as `calls`; late, compared, same_intent, same
    judged: Sequence[Mapping[str, Any]]  # shadows beside calls that people decided: judged, agreed


class Figures:
    """Every question, answered synchronously; `Store` asks them on threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine.execution_options(**READING)
        self._postgres = engine.dialect.name == "postgresql"

    def prompts(self, since: Micros) -> PromptFigures:
        questions = (_CALLS, _ENDED, _PEOPLE, _SHADOWS, _JUDGED)
        return PromptFigures(*(self._rows(question, since=since) for question in questions))

    def first_calls(self, machine: str, since: Micros) -> Sequence[Mapping[str, Any]]:
        """How often runs of a machine were first answered with which tool (NULL: with a reply), and in which state."""
        return self._rows(_FIRST, machine=machine, since=since)

    def _rows(self, question: str, **given: Any) -> list[dict[Any, Any]]:
        with refusals(self._engine), self._engine.connect() as connection:
            found = connection.execute(text(question.format_map(_Ways(self._postgres))), given).mappings()
            return [dict(row) for row in found]


class _Ways(dict[str, Any]):
    """`{word:doc:prompt.name}` in the words of a database: what stands at that place of a document."""

    def __init__(self, postgres: bool) -> None:
        super().__init__({kind: _Way(kind, postgres) for kind in ("doc", "word", "number", "true", "part", "each")})


class _Way:
    def __init__(self, kind: str, postgres: bool) -> None:
        self._kind, self._postgres = kind, postgres

    def __format__(self, spec: str) -> str:
        column, _, path = spec.partition(":")
        return self._in_postgres(column, path) if self._postgres else self._in_sqlite(column, path)

    def _in_postgres(self, column: str, path: str) -> str:
        way = path.replace(".", ",")
        word = f"({column} #>> '{{{way}}}')"
        return {
            "doc": f"CAST({column} AS jsonb)",
            "word": word,
            "number": f"CAST({word} AS bigint)",
            "true": f"({word} = 'true')",
            "part": f"({column} #> '{{{way}}}')",
            "each": f"jsonb_each({column} -> '{way}')",
        }[self._kind]

    def _in_sqlite(self, column: str, path: str) -> str:
        word = f"json_extract({column}, '$.{path}')"
        each = f"json_each({column}, '$.{path}')"
        return {"doc": column, "word": word, "number": word, "true": f"({word} = 1)", "part": word, "each": each}[self._kind]
