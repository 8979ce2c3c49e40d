"""Position sizing with rails: how much may be opened now, and why not more.

Arithmetic only.  `riskrails.deck`, `riskrails.telemetry` and `riskrails.breakers` are imported by name.
"""

from riskrails.errors import DeckError, PolicyError, RiskInputError, VenueRulesError
from riskrails.features import LiveFeatures
from riskrails.order import Order
from riskrails.orders import Orders
from riskrails.policy import Policy
from riskrails.rails import RiskRails, compute_order, compute_orders, default_rails
from riskrails.state import EdgeStatistics, RiskState, StateSource
from riskrails.tables import StrategyRow, TimeframeRow
from riskrails.venue import VenueRules

__all__ = [
    "DeckError",
    "EdgeStatistics",
    "LiveFeatures",
    "Order",
    "Orders",
    "Policy",
    "PolicyError",
    "RiskInputError",
    "RiskRails",
    "RiskState",
    "StateSource",
    "StrategyRow",
    "TimeframeRow",
    "VenueRules",
    "VenueRulesError",
    "compute_order",
    "compute_orders",
    "default_rails",
]
