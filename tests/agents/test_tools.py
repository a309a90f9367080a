"""The tools against what they touch: the demo's tables, the sandbox over real HTTP, a real mail server."""

from decimal import Decimal
from mailbox import Maildir
from pathlib import Path

import pytest

import tools
from leverframe import Key, NotDone
from tools import sandbox
from tools.mail import Mail, find_mail, send_mail
from tools.orders import Order, book_refund, earlier_refunds, find_order
from tools.payments import RefundOrder, find_payment, issue_refund
from tools.stock import check_inventory

MAIL = Mail(to="gloria@example.com", subject="Your refund", text="It is on its way.", reference="refund-1")


@pytest.fixture(autouse=True)
def shop(tmp_path: Path) -> str:
    """A fresh database, and beside it a fresh sandbox."""
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    tools.prepare(url)
    return url


def refund_of(order_id: int, amount: str) -> RefundOrder:
    return RefundOrder(order_id=order_id, amount=Decimal(amount), reason="broken")


def test_an_order_is_found_with_what_is_left_to_refund() -> None:
    lamp = Order(id=1042, customer="gloria@example.com", article="desk lamp", paid=Decimal(129), refundable=Decimal(129))
    assert find_order(1042) == lamp
    assert find_order(1) is None
    booked = find_order(1021)
    assert booked
    assert booked.refundable == booked.paid - Decimal("12.50")


def test_only_the_refunds_of_ninety_days_count() -> None:
    assert [refund.order_id for refund in earlier_refunds(1042)] == [1021, 1035]
    assert len(earlier_refunds(1042, days=365)) == 3
    assert earlier_refunds(1041) == []


def test_a_booking_is_seen_when_its_transaction_commits() -> None:
    from tools.tables import reading

    with reading() as session:
        book_refund(session, 1042, Decimal("29.00"), "refund-1")
        session.commit()
    order = find_order(1042)
    assert order
    assert order.refundable == Decimal(100)
    assert len(earlier_refunds(1042)) == 3


def test_preparing_again_changes_nothing(shop: str) -> None:
    tools.prepare(shop)
    tools.prepare(shop.replace("shop.db", "other.db"))
    tools.prepare(shop)
    assert len(earlier_refunds(1042, days=365)) == 3
    assert check_inventory("desk lamp") == 8


def test_a_payment_happens_once_for_one_key() -> None:
    first = issue_refund(Key("a"), refund_of(1042, "129"))
    assert issue_refund(Key("a"), refund_of(1042, "129")) == first == find_payment("a")
    assert len(sandbox.done("refunds")) == 1
    issue_refund(Key("b"), refund_of(1042, "129"))
    assert len(sandbox.done("refunds")) == 2


def test_a_refusal_is_certain_and_a_reused_key_is_not() -> None:
    with pytest.raises(NotDone, match="refused"):
        issue_refund(Key("a"), refund_of(1013, "10"))
    assert find_payment("a") is None
    issue_refund(Key("b"), refund_of(1042, "10"))
    with pytest.raises(ConnectionError, match="409"):
        issue_refund(Key("b"), refund_of(1042, "11"))


def test_a_mail_is_found_in_the_outbox() -> None:
    assert not find_mail("refund-1")
    send_mail(MAIL)
    assert find_mail("refund-1")
    assert not find_mail("refund-10")


def test_a_mail_goes_over_smtp_and_is_found_in_the_archive(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    send_mail(MAIL)
    assert [message["To"] for message in Maildir(archive)] == ["gloria@example.com"]
    with pytest.raises(LookupError, match="MAIL_ARCHIVE"):
        find_mail("refund-1")
    monkeypatch.setenv("MAIL_ARCHIVE", str(archive))
    assert find_mail("refund-1")
    with pytest.raises(LookupError, match="proves nothing"):
        find_mail("refund-2")


def test_a_mail_server_that_cannot_be_reached_has_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTP_URL", "smtp://127.0.0.1:1")
    with pytest.raises(NotDone, match="cannot be reached"):
        send_mail(MAIL)
