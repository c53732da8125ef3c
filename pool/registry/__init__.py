"""Room state in Redis: who waits, who owns which room under which fence, what has ended. One Lua script a verb.

Redis with failover is supported, Redis Cluster is not (arq's keys have no hash tag either).
"""

from pool.registry.rooms import Rooms
from pool.registry.values import (
    Again,
    CarrierRecord,
    CarrierSeen,
    Due,
    Gone,
    Grant,
    HangUp,
    Held,
    NoGrant,
    Noted,
    Offer,
    Offered,
    Release,
    Renewal,
    Rested,
    RoomState,
    RoomSummary,
    Standing,
    Times,
)
from pool.registry.workers import Carriers

__all__ = [
    "Rooms",
    "Carriers",
    "Times",
    "Noted",
    "Grant",
    "NoGrant",
    "Held",
    "Renewal",
    "Offer",
    "Offered",
    "Due",
    "HangUp",
    "Release",
    "Again",
    "Rested",
    "Gone",
    "Standing",
    "RoomState",
    "RoomSummary",
    "CarrierRecord",
    "CarrierSeen",
]
