"""Text that a stranger chose, as a person may see it."""


def printable(text: str) -> str:
    """The text with what does not print written as an escape, so that it cannot move the cursor of whoever reads it."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
