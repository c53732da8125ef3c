"""A story of several rooms and carriers, acted on real room state, and what each verb must answer in it.

A verb's own promises are asserted where it is acted; what must hold at all times stands in `test_state_machine.py`.
"""

from tests.pool.registry.story.fate import Story
from tests.pool.registry.story.notes import CAPACITY, CARRIERS, ROOMS

__all__ = ["Story", "ROOMS", "CARRIERS", "CAPACITY"]
