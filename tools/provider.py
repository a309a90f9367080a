"""How we speak with providers that honour idempotency keys: `POST /kind` does it once, `GET /kind/key` tells what came of it.

A provider's address is a setting; where it is not set, the sandbox takes the provider's place.
"""

import os
from contextlib import closing
from typing import TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel

from leverframe import NotDone

T = TypeVar("T", bound=BaseModel)

TIMEOUT = 10
REFUSED = {402, 422}
"""Answers given after looking up the key: it certainly did nothing. A 401 or a 404 says nothing about an earlier attempt."""


class Provider:
    def __init__(self, setting: str) -> None:
        self._setting = setting

    def do(self, kind: str, key: str, what: BaseModel, gives: type[T]) -> T:
        """Once for one key, however often it is asked. Raises NotDone where the provider refused."""
        status, answer = self._ask("POST", f"/{kind}", what.model_dump_json(), {"Idempotency-Key": key})
        if status in REFUSED:
            raise NotDone(answer.decode(errors="replace")[:300])
        if status != 200:
            raise ConnectionError(f"{kind}: the provider answered {status}")
        return gives.model_validate_json(answer)

    def find(self, kind: str, key: str, gives: type[T]) -> T | None:
        """What was done under the key, or nothing."""
        status, answer = self._ask("GET", f"/{kind}/{key}")
        if status == 404:
            return None
        if status != 200:
            raise ConnectionError(f"{kind}: the provider answered {status}")
        return gives.model_validate_json(answer)

    def _ask(self, method: str, path: str, body: str = "", headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        from http.client import HTTPConnection, HTTPSConnection

        from tools import sandbox

        url = urlsplit(os.environ.get(self._setting) or sandbox.url())
        connect = HTTPSConnection if url.scheme == "https" else HTTPConnection
        with closing(connect(url.netloc, timeout=TIMEOUT)) as connection:
            try:
                connection.request(method, url.path + path, body.encode() or None, headers or {})
                answer = connection.getresponse()
                return answer.status, answer.read()
            except OSError as error:
                raise ConnectionError(f"{path.split('/')[1]}: the provider cannot be reached: {error}") from error
