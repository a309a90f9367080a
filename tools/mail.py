"""E-mail, over SMTP_URL (`smtp://host:25`, `smtps://user:password@host:465`), or if that is not set into an outbox beside the
database.

No server tells later whether it took a mail, so `send_mail` is `once`. A mail is found again by its reference, which is the same
for the same matter: in the outbox, or in MAIL_ARCHIVE, a Maildir that the mail server copies everything into.
"""

import os
from typing import TYPE_CHECKING, Annotated
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, Field

from leverframe import NotDone, tool

if TYPE_CHECKING:  # whoever declares an agent sends no mail yet
    from email.message import EmailMessage
    from mailbox import Maildir

Line = Annotated[str, Field(min_length=1, pattern=r"^[^\r\n]*$")]


class Mail(BaseModel):
    to: Line
    subject: Line
    text: str
    reference: str = Field(pattern=r"^[\w.-]+$")


@tool(effect="once")
def send_mail(mail: Mail) -> str:
    """Send an e-mail. Gives its Message-ID."""
    return send(mail)


@tool(effect="read")
def find_mail(reference: str) -> bool:
    """Was a mail with this reference sent?"""
    from mailbox import Maildir

    archive = os.environ.get("MAIL_ARCHIVE")
    smtp = bool(os.environ.get("SMTP_URL"))
    if smtp and not archive:
        raise LookupError("sent mail cannot be looked up; set MAIL_ARCHIVE, or ask the person it went to")
    folder = Maildir(archive, create=False) if archive else _outbox()
    found = any(message["Message-ID"] == _message_id(reference) for message in folder)
    if smtp and not found:
        raise LookupError("the archive does not have the mail yet, which proves nothing: it may still arrive there")
    return found


def send(mail: Mail) -> str:
    from email.message import EmailMessage

    message = EmailMessage()
    message["From"] = os.environ.get("MAIL_FROM", "shop@example.com")
    message["To"], message["Subject"], message["Message-ID"] = mail.to, mail.subject, _message_id(mail.reference)
    message.set_content(mail.text)
    if server := os.environ.get("SMTP_URL"):
        _deliver(server, message)
    else:
        _outbox().add(message)
    return _message_id(mail.reference)


def _deliver(server: str, message: "EmailMessage") -> None:
    """NotDone only where the server certainly has nothing: it was not reached, or it said no."""
    import smtplib

    said_no = (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused, smtplib.SMTPNotSupportedError)
    url = urlsplit(server)
    connect = smtplib.SMTP_SSL if url.scheme == "smtps" else smtplib.SMTP
    try:
        smtp = connect(url.hostname or "localhost", url.port or 25, timeout=10)
    except OSError as error:
        raise NotDone(f"the mail server cannot be reached: {error}") from error
    with smtp:
        try:
            if url.username:
                smtp.login(unquote(url.username), unquote(url.password or ""))
            smtp.send_message(message)
        except said_no as error:
            raise NotDone(f"the mail server refused: {error}") from error


def _outbox() -> "Maildir":
    from mailbox import Maildir

    from tools import sandbox

    return Maildir(sandbox.beside(".outbox"))


def _message_id(reference: str) -> str:
    return f"<{reference}@leverframe.example>"
