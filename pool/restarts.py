"""When a parent starts a dead carrier again, and when it gives up. Pure; time is an argument."""

from collections import deque

BACK_OFF_S = (0.0, 0.5, 1.0, 2.0, 5.0)
"""Before the first, second, ... start after deaths of young carriers in a row; the last one holds for all later."""

YOUNG_S = 10.0
"""A carrier that dies younger than this may never have worked at all."""

LOOP_DEATHS = 5
"""So many deaths of young carriers within `LOOP_WINDOW_S`, and none that is ready: starting them does not help."""

LOOP_WINDOW_S = 60.0


class Restarts:
    """The deaths of a worker's carriers."""

    def __init__(self) -> None:
        self._in_a_row: dict[int, int] = {}
        self._young_deaths: deque[float] = deque(maxlen=LOOP_DEATHS)

    def wait_s(self, slot: int, now: float, *, lived_s: float) -> float:
        """Note that the carrier in this slot died, and say how long to wait before the next is started.

        One that had worked for a while is replaced at once.
        """
        if lived_s >= YOUNG_S:
            self._in_a_row[slot] = 0
            return BACK_OFF_S[0]
        self._young_deaths.append(now)
        earlier = self._in_a_row.get(slot, 0)
        self._in_a_row[slot] = earlier + 1
        return BACK_OFF_S[min(earlier, len(BACK_OFF_S) - 1)]

    def is_loop(self, now: float, *, any_ready: bool) -> bool:
        """Whether carriers die as fast as they are started."""
        deaths = self._young_deaths
        return not any_ready and len(deaths) == LOOP_DEATHS and now - deaths[0] <= LOOP_WINDOW_S
