"""A project: where the rooms are, how they are loaded, its settings; the one place that opens a store and makes an engine of them.

A project is a folder whose `pyproject.toml` has a table `[tool.leverframe]`, or simply a folder with `machines/`. Its rooms are top-level
packages of their own process, or stand inside a package that it names (`package = "acme.agents"`). Environment variables
(`LEVERFRAME_DATABASE_URL`, `LEVERFRAME_MODEL`, …) override the table. Nothing here is loaded before it is needed: finding and drawing a
machine opens no database and asks no provider.
"""

import sys
import tomllib
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Never, TypeAlias, cast

from leverframe.errors import LeverframeError, ProjectError, UnknownMachine, UnknownModel, did_you_mean
from leverframe.machine import Machine
from leverframe.run import Event, Run

if TYPE_CHECKING:
    from leverframe.clock import Clock
    from leverframe.engine import Engine
    from leverframe.llm import LLM, Hears
    from leverframe.project.settings import Settings
    from leverframe.store import Store

AnyMachine: TypeAlias = Machine[Never]
ROOMS = ("machines", "states", "prompts", "tools")
PYTHON_ROOMS = ("machines", "states", "tools")
OURS = Path(__file__).resolve().parent.parent


class _Clash(ProjectError):
    """Two machines of one name."""


@dataclass(frozen=True, slots=True)
class Unloaded:
    """A file of `machines/` that does not load, and the line of the project's code that it fails in."""

    file: Path
    place: tuple[str, int]
    error: LeverframeError


@dataclass(frozen=True)
class Project:
    """`root` is the folder that goes on the import path, `package` the one the rooms are in ("" where they are top-level)."""

    root: Path
    package: str = ""
    table: Mapping[str, object] = field(default_factory=dict[str, object])

    @property
    def rooms(self) -> Path:
        return self.root.joinpath(*self.package.split(".")) if self.package else self.root

    @cached_property
    def settings(self) -> "Settings":
        """Environment over pyproject.toml over defaults. Raises ProjectError."""
        from leverframe.project.settings import read

        return read(self.table, f"{self.root / 'pyproject.toml'}: [tool.leverframe]")

    @cached_property
    def machines(self) -> dict[str, AnyMachine]:
        """Every machine of `machines/`, by name. Raises ProjectError, DeclarationError."""
        return _load(self)

    def attempt(self) -> tuple[dict[str, AnyMachine], list[Unloaded]]:
        """As `machines`, but a file that does not load stands in nobody's way. Raises ProjectError where no file can be loaded."""
        found, failed = self._attempted
        return dict(found), list(failed)

    @cached_property
    def _attempted(self) -> tuple[dict[str, AnyMachine], list[Unloaded]]:
        """Once for each project: a file that does not load would be run again each time."""
        found: dict[str, AnyMachine] = {}
        failed: list[Unloaded] = []
        for file, name in _files(self):
            try:
                _declared(self, file, name, found)
            except LeverframeError as error:
                failed.append(Unloaded(file, _failing(error, self, file), error))
        return found, failed

    def loaded(self) -> tuple[dict[str, AnyMachine], list[Unloaded]]:
        """As `attempt`, for those who need one machine: of two of one name nobody can say which is meant. Raises ProjectError."""
        found, failed = self.attempt()
        for one in failed:
            if isinstance(one.error, _Clash):
                raise one.error
        return found, failed

    def machine(self, name: str) -> AnyMachine:
        """That machine, whatever becomes of the others. Raises UnknownMachine, and what loading its own file raises."""
        known, failed = self.loaded()
        if name in known:
            return known[name]
        for one in failed:
            if one.file.stem == name:
                raise one.error
        listed = ", ".join(sorted(known)) or "none"
        broken = f" Not loaded: {str(failed[0].error).rstrip('.')}." if failed else ""
        raise UnknownMachine(
            f"no machine is called {name!r}; in {self.rooms / 'machines'}: {listed}.{did_you_mean(name, sorted(known))}{broken}"
        )

    def database_url(self, given: str | None = None) -> str:
        """The database; a relative SQLite file is meant from the project, wherever one stands. Default: leverframe.db in the project."""
        url = given or self.settings.database_url or "sqlite:///leverframe.db"
        scheme, separator, path = url.partition(":///")
        if separator and scheme.startswith("sqlite") and path and not path.startswith(("/", "file:", ":memory:")):
            return f"{scheme}:///{self.root / path}"
        return url

    def has_database(self) -> bool:
        """Is there one already? A SQLite file that is not there holds no runs; a server is there, or says why not when it is asked."""
        scheme, separator, path = self.database_url().partition(":///")
        return not (separator and scheme.startswith("sqlite")) or Path(path.partition("?")[0]).is_file()

    def llm(self, model: str | None = None, clock: "Clock | None" = None) -> "LLM | None":
        """The model that is set; None where none is. One that is given answers whatever the prompts name. Raises UnknownModel."""
        from leverframe.llm import model_for
        from leverframe.project.settings import prices

        settings, name = self.settings, model or self.settings.model
        if not name:
            return None
        key = settings.api_key.get_secret_value() if settings.api_key else None
        return model_for(
            name,
            base_url=settings.base_url,
            api_key=key,
            strict=settings.strict,
            modes=settings.modes,
            prices=prices(settings, self.root),
            rates=settings.rates,
            timeout=settings.timeout,
            alone=model is not None,
            clock=clock,
        )

    def store(self, database_url: str | None = None, *, own_loop: bool = False) -> "Store":
        """The database, open; `own_loop` as `Store.open` has it. Raises DatabaseUnavailable, SchemaTooOld, SchemaTooNew, UnsafeDatabase."""
        from leverframe.store import Store

        return Store.open(self.database_url(database_url), own_loop=own_loop)

    @asynccontextmanager
    async def engine(
        self,
        *,
        model: str | None = None,
        database_url: str | None = None,
        watch: Callable[[Run, Event], None] | None = None,
        clock: "Clock | None" = None,
        also: AnyMachine | None = None,
        asks: bool = True,
        machines: Mapping[str, AnyMachine] | None = None,
        hears: "Hears | None" = None,
        own_loop: bool = False,
    ) -> "AsyncGenerator[Engine]":
        """An engine of this project's machines (`also`: and this one), on its database, with its model; closed with the block.

        With `asks=False` nothing will be asked of the model, and one that is not set up is no error. `machines`: those, not all.
        `hears` gets the model's answers piece by piece while they are written, where it can stream them. `own_loop`: the event loop
        serves nobody else (`Store.open`).
        The hook `tools.prepare(database_url)` is called before, where there is one.
        """
        from leverframe.engine import Engine

        known = {**(self.machines if machines is None else machines), **({also.name: also} if also else {})}
        try:
            llm = self.llm(model, clock)
        except UnknownModel:
            if asks:
                raise
            llm = None
        if llm is not None and hears is not None:
            from leverframe.llm import Overheard

            llm = Overheard(llm, hears)
        store = self.store(database_url, own_loop=own_loop)
        try:
            self.prepare(database_url)
            settings = self.settings
            async with Engine(
                store,
                list(known.values()),
                llm=llm,
                model=model or settings.model,
                clock=clock,
                lease=settings.lease,
                patience=settings.patience,
                watch=watch,
            ) as engine:
                yield engine
        finally:
            if (close := getattr(llm, "close", None)) is not None:
                await close()
            store.close()

    def prepare(self, database_url: str | None = None) -> None:
        """Lets the tools get ready, once a process and before its first run: `tools/__init__.py: prepare(database_url: str)`."""
        tools: object = sys.modules.get(self.name("tools"))
        if tools is None and (self.rooms / "tools").is_dir():
            tools = _import(self, self.name("tools"), self.rooms / "tools")
        hook = cast("Callable[[str], object] | None", getattr(tools, "prepare", None))
        if hook is not None:
            try:
                hook(self.database_url(database_url))
            except LeverframeError:
                raise
            except Exception as error:
                raise ProjectError(f"{self.name('tools')}.prepare failed: {type(error).__name__}: {error}") from error

    def name(self, module: str) -> str:
        """How a module of the rooms is imported."""
        return f"{self.package}.{module}" if self.package else module


# ── finding ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def find(start: Path | None = None) -> Project:
    """The project that a folder (default: the current one) is in. Raises ProjectError."""
    here = (start or Path.cwd()).resolve()
    rooms: Path | None = None
    for folder in (here, *here.parents):
        if rooms is None and any((folder / "machines").glob("*.py")):
            rooms = folder
        table = _table(folder / "pyproject.toml")
        if table is not None:
            project = Project(folder, str(table.get("package") or ""), table)
            return project if rooms in (None, project.rooms) else _bare(rooms)
    if rooms is None:
        raise ProjectError(
            f"no project in {here} or above: no pyproject.toml with [tool.leverframe], no folder machines/. "
            "`leverframe init .` makes one here"
        )
    return _bare(rooms)


def of(machine: AnyMachine) -> Project:
    """The project that a machine is declared in, wherever this process runs."""
    file = Path(machine.file).resolve()
    if file.parent.name == "machines":
        return find(machine.home)
    try:
        return find(file.parent)
    except ProjectError:
        return Project(file.parent if file.is_file() else Path.cwd())


def _table(file: Path) -> dict[str, object] | None:
    """`[tool.leverframe]`, if it is there."""
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    try:
        tools = tomllib.loads(text).get("tool", {})
    except tomllib.TOMLDecodeError as error:
        raise ProjectError(f"{file}: {error}") from None
    table: object = tools.get("leverframe")
    return cast("dict[str, object]", table) if isinstance(table, dict) else None


def _bare(rooms: Path) -> Project:
    """A project without settings: where the rooms stand tells whether they are inside a package."""
    root, parts = rooms, list[str]()
    while (root / "__init__.py").is_file() and root.parent != root:
        parts.insert(0, root.name)
        root = root.parent
    return Project(root, ".".join(parts))


# ── loading ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _load(project: Project) -> dict[str, AnyMachine]:
    found: dict[str, AnyMachine] = {}
    for file, name in _files(project):
        _declared(project, file, name, found)
    return found


def _files(project: Project) -> list[tuple[Path, str]]:
    """The files that may declare machines, and how each is imported."""
    folder = project.rooms / "machines"
    if not folder.is_dir():
        return []
    _put_first(project)
    return [
        (file, project.name(f"machines.{file.stem}")) for file in sorted(folder.glob("*.py")) if not file.stem.startswith("_")
    ]


def _declared(project: Project, file: Path, name: str, found: dict[str, AnyMachine]) -> None:
    """Adds the machines of one file."""
    for value in vars(_import(project, name, file)).values():
        if not isinstance(value, Machine):
            continue
        machine = cast("AnyMachine", value)
        if (first := found.setdefault(machine.name, machine)) is not machine:
            raise _Clash(f"two machines are called {machine.name!r}: {first.file} and {machine.file}; rename one")


def _failing(error: LeverframeError, project: Project, file: Path) -> tuple[str, int]:
    cause = error.__cause__ or error
    if isinstance(cause, SyntaxError) and cause.filename:
        return cause.filename, cause.lineno or 1
    path, _, line = (_where(error, project) or _where(cause, project)).rpartition(":")
    return (path, int(line)) if path else (str(file), 1)


def _put_first(project: Project) -> None:
    """The project goes first on the import path; a name that is taken is an error, not a surprise."""
    root = str(project.root)
    for room in PYTHON_ROOMS:
        folder = project.rooms / room
        if folder.is_dir() and not (folder / "__init__.py").is_file():
            raise ProjectError(f"{folder} has no __init__.py, so any installed {room!r} would take its place; add an empty one")
        if folder.is_dir() and not project.package:
            _refuse_clash(project.rooms, room)
    if sys.path[:1] != [root]:
        sys.path[:] = [root, *(entry for entry in sys.path if entry != root)]


def _refuse_clash(rooms: Path, room: str) -> None:
    there = sys.modules.get(room)
    places = [str(place) for place in getattr(there, "__path__", [getattr(there, "__file__", None) or "a built-in module"])]
    if there is None:
        # Our own checkout, installed to be edited, is no clash: its rooms are the starter of every project.
        ours = {OURS.parent} if (OURS.parent / "pyproject.toml").is_file() else set[Path]()
        others = [entry for entry in sys.path if Path(entry or ".").resolve() not in {rooms, *ours}]
        spec = PathFinder.find_spec(room, others)
        places = [spec.origin] if spec is not None and spec.origin else []  # a folder without __init__.py takes nobody's place
    if places and not any(Path(place).resolve().is_relative_to(rooms) for place in places):
        raise ProjectError(
            f"{rooms / room}: another {room!r} stands in {places[0]}, and one process can have only one. Put the rooms inside of a package: "
            "`leverframe init acme/agents --package acme.agents`"
        )


def _import(project: Project, name: str, file: Path) -> object:
    """Runs the user's code: what it prints is no part of our output, and it ends nothing."""
    _put_first(project)
    try:
        with redirect_stdout(sys.stderr):
            return import_module(name)
    except LeverframeError:
        raise
    except SyntaxError as error:
        raise ProjectError(f"{error.filename}:{error.lineno}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        raise ProjectError(f"{_where(error, project) or file}: {type(error).__name__}: {error}") from error


def _where(error: BaseException, project: Project) -> str:
    """The line of the project's own code that the error came from."""
    found, step = "", error.__traceback__
    while step is not None:
        file = Path(step.tb_frame.f_code.co_filename)
        if file.is_relative_to(project.rooms) and not file.is_relative_to(OURS) and "site-packages" not in file.parts:
            found = f"{file}:{step.tb_lineno}"
        step = step.tb_next
    return found
