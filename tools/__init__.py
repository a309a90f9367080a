"""What agents may touch: typed functions under @tool, by domain."""


def prepare(database_url: str) -> None:
    """Called once in a process, before its first run: the demo's tables and providers, where there are none yet."""
    from tools import sandbox, tables

    sandbox.place(database_url)
    tables.prepare(database_url)
