"""Prompts on trial: how the runs ended that were told a variant, how the examples beside it are answered, and who pinned which.

share       a part of a whole, and between which bounds it lies
versions    every prompt with its variants: what is in the files, and what the log says of it
pins        which variant new runs are told, said by a person
sample      a memory out of an example
exam        a model asked the examples of a prompt
prefetch    what models ask for first, and might as well have been given
"""

from leverframe.trial.exam import Exam, Question, Result, examine, uses
from leverframe.trial.pins import pin, unpin
from leverframe.trial.prefetch import Habit, habits
from leverframe.trial.share import Share, share
from leverframe.trial.versions import Variant, prompts, variants

__all__ = [
    "Exam",
    "Habit",
    "Question",
    "Result",
    "Share",
    "Variant",
    "examine",
    "habits",
    "pin",
    "prompts",
    "share",
    "unpin",
    "uses",
    "variants",
]
