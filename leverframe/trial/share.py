"""A part of a whole, and between which bounds the true part lies with 95 % confidence: Wilson's interval, which stays sound where
the whole is small or the part is none or all of it."""

from dataclasses import dataclass
from math import sqrt

from leverframe.canon import Object

Z = 1.959964
"""Of the normal distribution, 95 % lie within so many deviations."""


@dataclass(frozen=True, slots=True)
class Share:
    """`hits` of `of`; low and high are 0 and 1 where nothing was counted."""

    hits: int
    of: int
    low: float
    high: float

    @property
    def value(self) -> float | None:
        return self.hits / self.of if self.of else None

    def __str__(self) -> str:
        """`84 % of 200 (78–89 %)`"""
        if not self.of:
            return "of none"
        return f"{100 * self.hits / self.of:.0f} % of {self.of} ({100 * self.low:.0f}–{100 * self.high:.0f} %)"

    def json(self) -> Object:
        value = None if self.value is None else round(self.value, 4)
        return {"hits": self.hits, "of": self.of, "share": value, "low": round(self.low, 4), "high": round(self.high, 4)}


def share(hits: int, of: int) -> Share:
    if of == 0:
        return Share(0, 0, 0.0, 1.0)
    part, square = hits / of, Z * Z
    middle = part + square / (2 * of)
    around = Z * sqrt(part * (1 - part) / of + square / (4 * of * of))
    whole = 1 + square / of
    return Share(hits, of, max(0.0, (middle - around) / whole), min(1.0, (middle + around) / whole))
