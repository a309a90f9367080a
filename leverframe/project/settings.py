"""What a project may set: `[tool.leverframe]` in pyproject.toml, and over it the environment as `LEVERFRAME_…`."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypeAlias, cast

from pydantic import Field, NonNegativeFloat, SecretStr, TypeAdapter, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from leverframe.drive import LEASE, PATIENCE
from leverframe.errors import ProjectError, did_you_mean
from leverframe.llm import Mode, Rate

Price: TypeAlias = Annotated[tuple[NonNegativeFloat, ...], Field(min_length=2, max_length=3)]


class Settings(BaseSettings):
    """There is no default model: losing a setting never turns real answers into canned ones."""

    model_config = SettingsConfigDict(env_prefix="LEVERFRAME_", extra="forbid", env_ignore_empty=True)

    database_url: str = ""
    """sqlite:///file.db (relative: to the project) or postgresql://…; default: leverframe.db in the project."""
    model: str = ""
    """`provider/model`, `local`, or `examples` to work offline; several (a list, or with commas) are asked in turn while unavailable."""
    base_url: str | None = None
    """Of the model's provider."""
    api_key: SecretStr | None = None
    strict: bool | None = None
    """Send `"strict": true` with the schema."""
    modes: dict[str, Mode] = {}
    """How the schema is sent, by model: `json_schema` (default) or `tools`."""
    prices: dict[str, Price] | str = {}
    """Dollars for a million tokens in, out and (where that differs) read from a cache, by model; or a TOML file of them."""
    rates: dict[str, Rate] = {}
    """The requests and tokens that are sent in a minute, by provider: `openai = {requests = 500, tokens = 200_000}`."""
    timeout: float | None = Field(default=None, gt=0)
    """Seconds for one answer of a model."""
    lease: float = LEASE
    patience: float = PATIENCE
    concurrency: int = 200
    """Runs that a worker has in hand at a time."""
    cards: bool = False
    """The project keeps a card beside each machine: `check` fails where one is missing."""
    package: str = ""
    """The package the rooms are in; empty: they stand at the project's root."""

    @field_validator("model", mode="before")
    @classmethod
    def _several(cls, value: object) -> object:
        return ", ".join(map(str, cast("list[object]", value))) if isinstance(value, list) else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings


def read(table: Mapping[str, object], where: str) -> Settings:
    """Environment over the table over defaults. Raises ProjectError."""
    unknown = sorted(set(table) - set(Settings.model_fields))
    if unknown:
        raise ProjectError(f"{where} knows no {unknown[0]!r}.{did_you_mean(unknown[0], list(Settings.model_fields))}")
    try:
        return Settings(**table)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]  # validated right here
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        name = ".".join(map(str, first["loc"]))
        raise ProjectError(f"setting {name} (LEVERFRAME_{name.upper()} or {where}): {first['msg']}") from None


def prices(settings: Settings, root: Path) -> Mapping[str, tuple[float, ...]]:
    """The project's own prices, out of their file where they have one. Raises ProjectError."""
    if not isinstance(settings.prices, str):
        return settings.prices
    file = root / settings.prices
    try:
        return TypeAdapter(dict[str, Price]).validate_python(tomllib.loads(file.read_text("utf-8")))
    except OSError as error:
        raise ProjectError(f"prices: {file} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise ProjectError(f"prices: {file}: {'.'.join(map(str, first['loc'][:1]))}: {first['msg']}") from None
    except ValueError as error:
        raise ProjectError(f"prices: {file} is no TOML: {error}") from None
