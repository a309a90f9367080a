"""What the model sees of a run (factor 3): its events as blocks, the most important of them, within a budget.

blocks    an event as blocks, and what is shown of it
secrets   what never enters
window    the blocks of a run as they are now, and which of them a question shows
request   one question to a model, put together from data
rebuild   a question of before, made again from the log and verified
"""

from leverframe.window.blocks import LONGEST, pieces
from leverframe.window.request import Question, question, view
from leverframe.window.secrets import Secrets, hushed
from leverframe.window.window import BUDGET, Told, View, Window, window_of

__all__ = [
    "BUDGET",
    "LONGEST",
    "Question",
    "Secrets",
    "Told",
    "View",
    "Window",
    "hushed",
    "pieces",
    "question",
    "view",
    "window_of",
]
