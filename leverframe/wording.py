"""How an error is told to a model: in the project's words, `prompts/<agent>/_error.md`, or `prompts/_error.md` for every agent.

The file is a template over what a compact error has. Without one, an error is shown as what it is: data.
"""

from pathlib import Path

from leverframe.errors import PromptError
from leverframe.prompt import Prompt

FILE = "_error.md"
VARIABLES = ("type", "source", "cause", "remedy", "times")


def wording(home: Path, prompt: str) -> str | None:
    """The words for an agent's errors, where the project has any. Raises PromptError with file and line."""
    agent = prompt.rpartition("/")[0]
    for path in (home / "prompts" / agent / FILE, home / "prompts" / FILE):
        if path.is_file():
            text = path.read_text("utf-8").replace("\r\n", "\n").strip()
            refuse(text, str(path))
            return text
    return None


def refuse(text: str, where: str) -> None:
    """Raises PromptError for words that name what an error does not have."""
    prompt = Prompt.parse("wording", "", f"# user\n{text}", Path(where))
    for _, line, message in prompt.complaints(VARIABLES):
        raise PromptError(f"{where}:{(line or 2) - 1}: {message}")
