"""Raw payment data in what a session is given: card numbers, track data, security codes, PINs (S8).

``sieve`` tells in one pass that a document holds none, which is nearly always so. Only otherwise is it searched, value
by value (``search``): texts are brought into plain digits first (``plain``), digits are compared with the ranges that
cards are numbered in (``brands``), and some keys say what stands behind them (``labels``).
"""

from agent_sessions.domain.payment_data.rules import Finding, Rule
from agent_sessions.domain.payment_data.search import all_payment_data, find_payment_data

__all__ = ["Finding", "Rule", "all_payment_data", "find_payment_data"]
