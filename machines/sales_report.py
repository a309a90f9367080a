"""A shop's day, a stub: every article that runs low is handed to the restock agent, each as a run of its own."""

from leverframe import Back, Limits, Machine
from states.common import Closed, Shorten, Unanswered
from states.sales_report import Day, Find, HandOver, Restocks, Stocked

sales_report = Machine(
    "sales_report",
    memory=Day,
    edges={
        Find: {"some": Restocks, "none": Stocked},
        Restocks: {"done": Stocked, "error": Shorten, "expired": HandOver},
        Shorten: {"retry": Back, "give_up": HandOver},
        HandOver: {"handled": Closed, "expired": Unanswered},
    },
    limits=Limits(steps=20, days=30, exceeded=HandOver),
)
