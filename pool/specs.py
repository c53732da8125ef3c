"""A grant, or an offer -> the call it leads to: what the agent remembers and how it begins. Pure."""

from dataclasses import replace

from bridge import Opening, SessionSpec
from pool.memory import turns_of
from pool.registry import Grant, Offer
from pool.settings import PoolSettings


def spec_for(grant: Grant, settings: PoolSettings) -> SessionSpec:
    """The call of a room that was claimed. Where an owner was lost, the agent says that it is back."""
    memory = turns_of(grant.memory)
    is_return = bool(memory) or grant.attempt > 1
    opening = Opening.RETURN if is_return else Opening.GREET
    return replace(settings.session_spec(grant.room), sid=grant.sid, memory=memory, opening=opening)


def stand_by_spec(offer: Offer, settings: PoolSettings) -> SessionSpec:
    """The call of a room that may be passed to us: it goes on without a word."""
    memory = turns_of(offer.memory)
    return replace(settings.session_spec(offer.room), sid=offer.sid, memory=memory, opening=Opening.GO_ON)
