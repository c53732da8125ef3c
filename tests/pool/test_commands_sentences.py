"""The words of a room's story: every event that anything of ours writes has a sentence, and no fact is lost in it."""

import ast
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import Ending
from pool.commands.sentences import FACT, SENTENCES, WORDS, Teller, sentence
from pool.journal import HEARD, IGNORED, Decision
from pool.lease import Leave, State
from webhook.policy import IgnoreReason

ROOT = Path(__file__).resolve().parents[2]

CALLS = {"event", "tell", "_tell", "append", "_lose_touch"}
"""Methods by which Python writes a line of a story; the event is their first text that looks like one."""

IN_VARIABLES = {HEARD, IGNORED} | {state.value for state in State if state is not State.LOST}
"""Events that are not written where they are made."""

NO_STORIES = {"caller", "simulator"}
"""Folders whose `event` and `tell` are about something else."""


def of_lua() -> set[str]:
    """Every event that a script writes: the second argument of `why`, and of `end_lease`, which hands it on."""
    found: set[str] = set()
    for script in (ROOT / "pool" / "registry" / "lua").glob("*.lua"):
        text = script.read_text()
        found |= set(re.findall(r"\bwhy\([^,()]+(?:\([^()]*\))?, '(\w+)'", text))
        found |= set(re.findall(r"\bend_lease\(\w+, '(\w+)'", text))
    return found


def of_python() -> set[str]:
    """Every event that a call into a journal, a carrier or a log of decisions writes."""
    found: set[str] = set()
    for package in ("bridge", "pool"):
        for source in (ROOT / package).rglob("*.py"):
            if not NO_STORIES & set(source.parts):
                for node in ast.walk(ast.parse(source.read_text())):
                    found |= event_of(node)
    return found


def event_of(node: ast.AST) -> set[str]:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr not in CALLS:
        return set()
    owner = ast.unparse(node.func.value)
    if node.func.attr == "append" and "story" not in owner:
        return set()
    texts = [one.value for one in node.args[:2] if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return {text for text in texts[:1] if re.fullmatch(r"[a-z_]+", text)}


def test_every_event_has_a_sentence() -> None:
    """A line that nobody can read is as good as none: who adds an event adds its words."""
    written = of_lua() | of_python() | IN_VARIABLES
    assert {"claimed", "reaped", "joined", "ended", "found_in_list", "barge_in", "hold"} <= written
    assert written - set(SENTENCES) == set()


def test_no_sentence_is_left_of_an_event_that_nothing_writes() -> None:
    """Words about nothing would be taken for something that happens."""
    assert set(SENTENCES) - (of_lua() | of_python() | IN_VARIABLES) <= {"webhook_again"}


@pytest.mark.parametrize(
    ("place", "values"),
    [
        ("ended.ending", {ending.value for ending in Ending}),
        ("must_leave.reason", {leave.value for leave in Leave} | {"hang_up"}),
        (
            "webhook_ignored.reason",
            {reason.value for reason in IgnoreReason} - {"event_decides_nothing", "room_name_too_long"},
        ),
        ("released.how", {"again", "failed", "excused", "rested", "gone"}),
    ],
)
def test_every_value_of_such_a_fact_has_its_words(place: str, values: set[str]) -> None:
    """Neither more nor fewer."""
    assert set(WORDS[place]) == values


@pytest.mark.parametrize(
    ("event", "facts", "expected"),
    [
        (
            "claimed",
            {"carrier": "c1", "fence": "17", "attempt": "1", "waited_ms": "12"},
            "c1 was given the room: fence 17, try 1, after 12 ms",
        ),
        ("waiting", {"for_ms": "0"}, "waits for a carrier"),
        ("arrived", {"callers": "2"}, "a caller is in the room, 2 callers now"),
        ("passed", {"carrier": "c1", "fence": "3", "next": "c2", "next_fence": "9"},
         "c1 handed the room to c2: fence 9 after 3"),
        ("passed", {"carrier": "c1", "was": "own"}, "c1 has passed the room on, and is mute (was: own)"),
        ("webhook_ignored", {"reason": "kind", "kind": "EGRESS", "participant": "PA_1"},
         "LiveKit's webhook said that somebody joined; ignored: its kind is none of a caller's (EGRESS)"),
        ("ended", {"carrier": "c1", "ending": "caller_left", "call_ms": "42000", "replies": "3"},
         "c1's call ended: the caller left, after 42 s  (replies=3)"),
        ("ended", {"carrier": "c1", "ending": "bug", "cure": "report it", "replies": "1"},
         "c1's call ended: a bug of roompool  (replies=1, cure: report it)"),
        ("news_of_tomorrow", {"carrier": "c1", "speed": "9"}, "news_of_tomorrow  (speed=9)"),
        ("joined", {}, "a carrier is in the room"),
        ("left", {"callers": "0"}, "a caller has left, 0 callers now"),
        ("joined", {"carrier": "c\x1b[2J"}, "c\\x1b[2J is in the room"),
    ],
)  # fmt: skip
def test_what_a_line_says(event: str, facts: dict[str, str], expected: str) -> None:
    """Facts in their place, lengths as people read them, what is missing left out, what is left over told."""
    assert sentence(event, facts) == expected


@given(
    st.sampled_from([*SENTENCES, "news_of_tomorrow"]),
    st.dictionaries(
        st.sampled_from(sorted({name for text in SENTENCES.values() for name in FACT.findall(text)} | {"new", "cure"})),
        st.text(max_size=20),
    ),
)
def test_any_facts_make_one_printable_line(event: str, facts: dict[str, str]) -> None:
    """Whatever is missing, new, or hostile."""
    line = sentence(event, facts)
    assert line
    assert line.isprintable()


def test_a_webhook_that_comes_again_is_a_repetition() -> None:
    """By LiveKit's own id of it; another one is not, nor is a line that has none."""
    heard = [Decision(1, "webhook", {"delivery": "EV_1"}), Decision(2, "webhook", {"delivery": "EV_2"})]
    claimed = Decision(3, "joined", {"carrier": "c1"})
    teller = Teller()
    told = [teller.tell(one) for one in (*heard, claimed, heard[0], claimed)]
    assert [text.startswith("LiveKit repeated") for text in told] == [False, False, False, True, False]
