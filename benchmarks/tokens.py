"""How good the offline estimate of tokens is: `python -m benchmarks.tokens`, after `pip install --no-deps tiktoken regex litellm tokenizers`.

Real tokenizers count without a network: cl100k of OpenAI and Anthropic's published one, both in litellm's wheel. Of each kind of text the
figure is tokens for one that was estimated: below 1 the estimate errs on the side of too many.
"""

import json
import os
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from leverframe.canon import Object
from leverframe.llm import estimated_tokens
from leverframe.window import View, Window

ROOT = Path(__file__).parent.parent
PIECE = 2_000  # characters


def texts() -> Iterator[tuple[str, str]]:
    """Kinds of text, each in one piece."""
    yield "English", "\n".join(path.read_text("utf-8") for path in sorted((ROOT / "docs").glob("*.md")))
    yield "Python", "\n".join(path.read_text("utf-8") for path in sorted((ROOT / "leverframe").glob("*.py")))
    yield "JSON", (ROOT / "leverframe/check/definition.schema.json").read_text("utf-8")
    yield "window", _window()
    yield "numbers", " ".join(f"{n * 7919 % 100_003}, {n * 104_729 % 1_000_003 / 100:.2f}," for n in range(2_000))
    yield "hex", " ".join(f"{n * 2_654_435_761 % 2**64:016x}" for n in range(1_000))
    yield "German", "Der Kunde schreibt, dass die Bestellung beschädigt ankam, und möchte das Geld zurückerhalten. " * 40
    yield "Russian", "Заказ пришёл повреждённым, и покупатель хочет вернуть деньги за него как можно скорее. " * 40
    yield "Chinese", "客户说订单到货时已损坏，希望尽快退款。请核实订单号和金额，然后决定。" * 60
    yield "Japanese", "お客様の注文は破損した状態で届きました。できるだけ早く返金をご希望です。" * 60
    yield "emoji", "🙂🎉🚚📦💶" * 200


def _window() -> str:
    """What models of ours read."""
    window = Window()
    window.add("started", {"source": "api", "memory": {"message": "Order 1042 arrived broken, I want my money back", "asked": 0}})
    for n in range(60):
        result: Object = {"id": 1000 + n, "article": "desk lamp", "paid": f"{n}.90", "refundable": f"{n}.90", "on": "2026-11-21"}
        call: Object = {"tool_name": "find_order", "arguments": {"order_id": 1000 + n}, "result": result}
        window.add("fetched", {"state": "LookUp", "calls": [call]})
    return window.text(View(6_000))


def counters() -> dict[str, Callable[[str], int]]:
    found = find_spec("litellm")
    if found is None or not found.submodule_search_locations or find_spec("tiktoken") is None or find_spec("tokenizers") is None:
        raise SystemExit("pip install --no-deps tiktoken regex litellm tokenizers")
    home = Path(found.submodule_search_locations[0], "litellm_core_utils/tokenizers")
    os.environ["TIKTOKEN_CACHE_DIR"] = str(home)
    tiktoken: Any = import_module("tiktoken")
    tokenizers: Any = import_module("tokenizers")
    cl100k, claude = tiktoken.get_encoding("cl100k_base"), tokenizers.Tokenizer.from_file(str(home / "anthropic_tokenizer.json"))
    return {"cl100k": lambda text: len(cl100k.encode(text)), "claude": lambda text: len(claude.encode(text).ids)}


def main() -> None:
    for name, count in counters().items():
        for kind, text in texts():
            pieces = [text[start : start + PIECE] for start in range(0, min(len(text), 400_000), PIECE)]
            ratios = [count(piece) / estimated_tokens(piece) for piece in pieces if len(piece) == PIECE or len(pieces) == 1]
            figures = {"least": round(min(ratios), 2), "mean": round(sum(ratios) / len(ratios), 2), "most": round(max(ratios), 2)}
            print(json.dumps({"tokenizer": name, "text": kind, **figures}))


if __name__ == "__main__":
    main()
