"""Libraries that others load when they find them, and that no process of ours needs. Standard library only."""

import sys


def leave_out_rich() -> None:
    """Let whoever looks for `rich` in this process find that it is not there.

    structlog would load it for coloured tracebacks, which no process of ours prints, and it costs 5 MB in each.
    """
    sys.modules["rich"] = None  # type: ignore[assignment]  # an import of it fails, and structlog does without
