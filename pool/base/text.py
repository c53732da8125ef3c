"""Text that a stranger chose, as a person may see it."""


def printable(text: str) -> str:
    """The text with what does not print written as an escape, so that it cannot move the cursor of whoever reads it."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shortened(text: str, chars: int) -> str:
    """The text in at most so many characters; where something is missing it ends in an ellipsis."""
    return text if len(text) <= chars else text[: chars - 1] + "\u2026"
