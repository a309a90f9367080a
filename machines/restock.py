"""A shop sold out: ship from the warehouse, buy what is missing, or tell the procurement manager. No model is needed."""

from leverframe import Back, Limits, Machine
from states.common import Closed, Shorten, Unanswered
from states.restock import (
    Bought,
    Buy,
    Check,
    HandOver,
    Refused,
    Reported,
    Restock,
    Restocked,
    Ship,
    Shipped,
    Tell,
    Told,
)

restock = Machine(
    "restock",
    memory=Restock,
    edges={
        Check: {"enough": Ship, "short": Buy, "error": Shorten},
        Buy: {"ok": Ship, "error": Refused, "unknown": Bought},  # keyed
        Bought: {"happened": Ship, "not_happened": Shorten, "error": Shorten},
        Refused: {"retry": Back, "give_up": Tell},  # gives up at the first error
        Ship: {"ok": Restocked, "error": Shorten, "unknown": Shipped},  # keyed
        Shipped: {"happened": Restocked, "not_happened": Shorten, "error": Shorten},
        Tell: {"ok": Reported, "error": Shorten, "unknown": Told},  # once
        Told: {"happened": Reported, "not_happened": Shorten, "error": Shorten},
        Shorten: {"retry": Back, "give_up": HandOver},
        HandOver: {"handled": Closed, "expired": Unanswered},
    },
    limits=Limits(steps=30, days=14, exceeded=HandOver),
)
