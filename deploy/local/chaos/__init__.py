"""What roompool promises when something dies, proved from inside the rooms.

`./dev chaos`, the tests in `tests/faults/`, and `docs/guarantees.md` speak of the same faults (`faults/`), the same
measure (`measure.py`) and the same promises (`verdict.py`). Those two are pure; the rest starts real programs and
hurts them.
"""
