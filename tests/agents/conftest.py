"""A real mail server for the tests of agents."""

from collections.abc import Callable, Iterator
from pathlib import Path
from socket import socket

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Mailbox
from aiosmtpd.smtp import SMTP, Envelope, Session


class HangsUp(Mailbox):
    """Takes the mail, and is gone before it says so."""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 (aiosmtpd's name)
        await super().handle_DATA(server, session, envelope)
        assert server.transport
        server.transport.close()
        return "250 never heard"


@pytest.fixture
def mail_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[type[Mailbox]], Path]]:
    """Starts one of that kind; gives the Maildir it archives everything in."""
    servers: list[Controller] = []

    def start(kind: type[Mailbox]) -> Path:
        with socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        servers.append(Controller(kind(tmp_path / "archive"), hostname="127.0.0.1", port=port))
        servers[-1].start()
        monkeypatch.setenv("SMTP_URL", f"smtp://127.0.0.1:{port}")
        return tmp_path / "archive"

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def archive(mail_server: Callable[[type[Mailbox]], Path]) -> Path:
    """What a mail server that works as it should was sent."""
    return mail_server(Mailbox)


@pytest.fixture
def lost_archive(mail_server: Callable[[type[Mailbox]], Path]) -> Path:
    """What a mail server was sent that hangs up before it says that it took it."""
    return mail_server(HangsUp)
