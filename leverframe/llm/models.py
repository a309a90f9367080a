"""Which model a name means. There is no default: losing a setting never turns real answers into canned ones."""

from leverframe.clock import Clock
from leverframe.errors import UnknownModel
from leverframe.llm.examples import ExamplesLLM
from leverframe.llm.remote import InstructorLLM, Prices
from leverframe.llm.seam import LLM


def model_for(
    name: str,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    strict: bool | None = None,
    prices: Prices | None = None,
    clock: Clock | None = None,
) -> LLM:
    """`examples` (offline), or `provider/model` on any OpenAI-compatible server; see `InstructorLLM` for the settings.

    Imports no provider. Raises UnknownModel, saying what to set or install.
    """
    if name == "examples":
        return ExamplesLLM()
    if name == "local":
        raise UnknownModel(
            "model 'local' is not built in yet. Run an OpenAI-compatible server here and name it: with Ollama, "
            "`ollama pull qwen2.5:3b && ollama serve` and the model ollama/qwen2.5:3b"
        )
    if not name:
        raise UnknownModel("no model is set: name one ('provider/model', or 'examples' to work offline); there is no default")
    return InstructorLLM(name, base_url=base_url, api_key=api_key, strict=strict, prices=prices, clock=clock)
