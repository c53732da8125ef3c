"""A recap is a record, bounded, and no way to give the agent orders."""

import json

from hypothesis import given
from hypothesis import strategies as st

from bridge.recap import INTRODUCTION, MAX_RECAP_BYTES, MAX_TURN_CHARS, MAX_TURNS, Memory
from bridge.spec import Said


def test_nothing_said_leaves_the_prompt_as_it_is() -> None:
    """A voice that broke before the first turn starts as if for the first time."""
    assert Memory().extend("Be kind.") == "Be kind."


def test_turns_come_in_order_and_say_who_and_whether_they_were_cut() -> None:
    """The newest stands last."""
    memory = Memory()
    memory.add(Said("caller", "A table for two."))
    memory.add(Said("agent", "For which", cut_ms=420))
    assert 'caller: "A table for two."\nagent (cut off after 420 ms): "For which"' in memory.extend("p")


def test_a_memory_goes_on_from_what_former_owners_remembered() -> None:
    """What it is given is bounded as what it hears."""
    memory = Memory([Said("caller", " Yes. "), Said("agent", " ")])
    assert memory.add(Said("agent", "x" * 1000)) == Said("agent", "x" * MAX_TURN_CHARS)
    assert memory.add(Said("agent", "\n")) is None
    assert memory.extend("p").endswith(f'caller: "Yes."\nagent: "{"x" * MAX_TURN_CHARS}"')


@given(st.lists(st.text(max_size=900), max_size=60))
def test_a_recap_is_bounded_and_every_turn_stays_one_quoted_line(texts: list[str]) -> None:
    """Whatever was said: no line break, quote or escape of the caller's leaves its JSON string."""
    memory = Memory()
    for text in texts:
        memory.add(Said("caller", text))
    recap = memory.extend("p").removeprefix("p")
    assert len(recap.encode(errors="surrogatepass")) <= MAX_RECAP_BYTES + len(INTRODUCTION.encode())
    lines = recap.removeprefix(INTRODUCTION).split("\n") if recap else []
    assert len(lines) <= MAX_TURNS
    assert all(isinstance(json.loads(line.removeprefix("caller: ")), str) for line in lines)


@given(st.text(alphabet=st.characters(), min_size=1, max_size=MAX_TURN_CHARS).filter(str.strip))
def test_a_turn_is_one_line_to_whoever_reads_it(text: str) -> None:
    """Also where lines end at more than a line feed, and characters that nobody sees count as words; and it can be
    sent, whatever another hand has put into the memory."""
    (line,) = Memory([Said("caller", text)]).extend("p").removeprefix("p" + INTRODUCTION).splitlines()
    assert line.isprintable()
    assert json.loads(line.removeprefix("caller: ")) == text.strip()
    line.encode()


def test_half_a_surrogate_pair_costs_no_call() -> None:
    """A stored text may spell one out; each owner of the room would fail on it, until the room is quarantined."""
    line = Memory([Said("caller", "a\ud800b\u2028c")]).extend("").splitlines()[-1]
    assert line == r'caller: "a\ud800b\u2028c"'
