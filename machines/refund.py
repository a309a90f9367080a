"""A customer wants money back; a person releases what is above 50 euros."""

from leverframe import Back, Limits, Machine, Precedence
from states.common import Closed, HandOver, Release, Shorten, Unanswered
from states.refund import (
    Book,
    Customer,
    Declined,
    Limit,
    LookUp,
    Notify,
    Paid,
    Pay,
    Read,
    Recheck,
    Refund,
    Refunded,
    Sent,
    Triage,
)
from tools.payments import issue_refund

refund = Machine(
    "refund",
    memory=Refund,
    edges={
        Read: {"number": LookUp, "none": Triage, "enough": HandOver},  # enough: asked three times
        LookUp: {"found": Triage, "missing": Customer, "error": Shorten},
        Triage: {"issue_refund": Limit, "ask_customer": Customer, "decline": Declined, "escalate": HandOver, "error": Shorten},
        Customer: {"answered": Read, "expired": Declined},
        Limit: {"small": Pay, "large": Release, "unfounded": HandOver},  # no order, another one, or above what is left of it
        Release: {"approved": Recheck, "rejected": Triage, "expired": HandOver},
        Recheck: {"within": Pay, "beyond": HandOver, "error": Shorten},
        Pay: {"ok": Book, "error": Shorten, "unknown": Paid},  # keyed
        Paid: {"happened": Book, "not_happened": Shorten, "error": Shorten},
        Book: {"ok": Notify, "error": Shorten},  # local
        Notify: {"ok": Refunded, "error": Shorten, "unknown": Sent},  # once
        Sent: {"happened": Refunded, "not_happened": Shorten, "error": Shorten},
        Shorten: {"retry": Back, "give_up": HandOver},
        HandOver: {"handled": Closed, "expired": Unanswered},
    },
    limits=Limits(steps=40, model_calls=12, cost_usd=0.50, days=7, exceeded=HandOver),
    rules=[Precedence((Release, "approved"), (Limit, "small"), before=issue_refund)],
)
