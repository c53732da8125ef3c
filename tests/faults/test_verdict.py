"""Which trials broke a promise, and what many of them come to."""

from dataclasses import replace

import pytest

from deploy.local.chaos import table
from deploy.local.chaos.measure import CallMeasured
from deploy.local.chaos.verdict import Trial, report, skipped

WELL = CallMeasured(room="demo", answered=True)


def trial(*calls: CallMeasured, unended: int = 0, broken: tuple[str, ...] = ()) -> Trial:
    return Trial(fault="carrier-killed", number=1, seed="s", calls=calls, unended=unended, broken=broken)


def test_a_trial_in_which_all_went_well_broke_nothing() -> None:
    """A take-over that the fault needed is no breach, however long it took."""
    moved = CallMeasured(room="demo", answered=True, moves=1, moves_allowed=1, joined_s=50.0, heard_s=60.0)
    assert trial(WELL, moved).promises_broken == ()
    assert report("carrier-killed", [trial(WELL, moved)]).ok


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (trial(CallMeasured(room="demo", problem="no agent came")), "demo: the call was lost (no agent came)"),
        (
            trial(CallMeasured(room="demo", answered=True, audible_together_s=0.02)),
            "demo: two agents were audible at once for 20 ms",
        ),
        (
            trial(CallMeasured(room="demo", answered=True, moves=1)),
            "demo: the call moved 1 times, where 0 would have done",
        ),
        (
            trial(CallMeasured(room="demo", answered=True, is_spared=True, silence_s=4.2)),
            "demo: the fault was not this call's, and its agent was silent for 4.2 s",
        ),
        (trial(WELL, unended=2), "2 voice sessions of processes that live were not ended by session.end"),
        (trial(WELL, broken=("it was not quarantined",)), "it was not quarantined"),
    ],
    ids=["lost", "two heard", "reshuffled", "silent", "unended", "the fault's own"],
)
def test_each_promise_has_its_sentence(broken: Trial, sentence: str) -> None:
    """One breach in one trial of many is a breach of the fault's."""
    assert broken.promises_broken == (sentence,)
    summed = report("carrier-killed", [trial(WELL), broken, trial(WELL)])
    assert not summed.ok
    assert summed.broken == (sentence,)


def test_a_report_adds_up_calls_and_spreads_what_was_measured() -> None:
    """Calls that were not hit have no times, and make none longer or shorter."""
    hit = CallMeasured(room="a", answered=True, moves=1, moves_allowed=1, joined_s=0.4, heard_s=0.9, silence_s=0.8)
    slow = CallMeasured(
        room="b", answered=True, moves=1, moves_allowed=1, joined_s=0.8, heard_s=1.9, silence_s=1.8, together_s=0.1
    )
    summed = report("carrier-killed", [trial(hit, WELL), trial(slow, WELL)])

    assert (summed.trials, summed.calls, summed.moved, summed.lost, summed.reshuffled) == (2, 4, 2, 0, 0)
    assert summed.joined is not None
    assert (summed.joined.p50, summed.joined.max) == (0.4, 0.8)
    assert summed.heard is not None
    assert (summed.heard.p50, summed.heard.max) == (0.9, 1.9)
    assert (summed.together_s, summed.together_max_s, summed.silence_max_s) == (0.1, 0.1, 1.8)
    assert summed.hand_over is None


def test_of_a_hand_over_the_gap_is_told_and_not_how_long_a_deploy_took() -> None:
    """The next agent says nothing of its own accord, so that when it was heard says nothing of it."""
    moved = CallMeasured(room="a", answered=True, moves=1, moves_allowed=1, joined_s=9.0, heard_s=12.0)
    call = replace(moved, hand_over_s=(0.1,))
    summed = report("rolling-deploy", [trial(call)], is_hand_over=True)
    assert (summed.joined, summed.heard, summed.silence_max_s) == (None, None, None)
    assert summed.hand_over is not None
    assert summed.hand_over.max == 0.1


def test_tables_have_a_cell_for_every_heading() -> None:
    """For faults that were tried and those that could not be, in a terminal and in a document."""
    reports = [report("carrier-killed", [trial(WELL)]), skipped("cut-from-both", "no namespaces here")]
    text, markdown = table.text(reports), table.markdown(reports)
    assert "carrier-killed" in text
    assert "skipped" in text
    assert {line.count("|") for line in markdown.splitlines()} == {len(table.HEADING) + 1}
