"""What a project may set: `[tool.leverframe]` in pyproject.toml, and over it the environment as `LEVERFRAME_…`."""

from collections.abc import Mapping

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from leverframe.drive import LEASE, PATIENCE
from leverframe.errors import ProjectError, did_you_mean


class Settings(BaseSettings):
    """There is no default model: losing a setting never turns real answers into canned ones."""

    model_config = SettingsConfigDict(env_prefix="LEVERFRAME_", extra="forbid", env_ignore_empty=True)

    database_url: str = ""
    """sqlite:///file.db (relative: to the project) or postgresql://…; default: leverframe.db in the project."""
    model: str = ""
    """`provider/model`, or `examples` to work offline."""
    base_url: str | None = None
    """Of the model's provider."""
    api_key: SecretStr | None = None
    strict: bool | None = None
    """Send `"strict": true` with the schema."""
    prices: dict[str, tuple[float, float]] | None = None
    """Dollars for a million tokens in and out, by model."""
    lease: float = LEASE
    patience: float = PATIENCE
    concurrency: int = 200
    """Runs that a worker has in hand at a time."""
    package: str = ""
    """The package the rooms are in; empty: they stand at the project's root."""

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
