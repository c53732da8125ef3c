"""The demo: what it concludes from what it saw, and one whole run of it as a user starts it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.local import ending, report, signs
from deploy.local.order import BadSettings, Order, check_redis, page_env, problems_of
from deploy.local.processes import LogLine
from deploy.local.report import CallMade, Expected, Report, Step, What
from deploy.local.stack import Part
from deploy.local.valkey import ExternalRedis
from pool.registry import CarrierRecord, Carriers
from pool.registry.connect import lease_redis
from tests.peers.pids import is_alive, until_gone

ALL = Expected(webhooks=True, turns=True)


def call(caller: str, *whats: What, **facts: object) -> CallMade:
    steps = tuple(Step(caller, what, at_ms=100 * index, took_ms=10) for index, what in enumerate(whats))
    return replace(CallMade(caller=caller, room=f"demo-{caller}", steps=steps, workers=("worker-1",)), **facts)  # type: ignore[arg-type]


ARRIVAL = (What.IN_ROOM, What.WEBHOOK, What.CLAIMED, What.AGENT_JOINED, What.GREETED, What.SPOKE, What.ANSWERED)
END = (What.HUNG_UP, What.AGENT_GONE)
TAKE_OVER = (What.KILLED, What.CLAIMED_AGAIN, What.JOINED_AGAIN, What.HEARD_AGAIN)

ANNA = call("anna", *ARRIVAL, *END, agents_max=1, audible_max=1)
BEN = call("ben", *ARRIVAL, What.INTERRUPTED, What.VOICE_NOTICED, What.SILENT, *END, ended={"barge_ins": 1})
CLEO = call("cleo", *ARRIVAL, *TAKE_OVER, *END, workers=("worker-1", "worker-2"))


def without(made: CallMade, *whats: What) -> CallMade:
    return replace(made, steps=tuple(step for step in made.steps if step.what not in whats))


def failed(calls: list[CallMade], expected: Expected = ALL, errors: tuple[str, ...] = ()) -> set[str]:
    return {check.name for check in report.checks_of(calls, expected, errors) if not check.ok}


# -- the verdict


def test_a_run_in_which_all_happened_passes_every_check() -> None:
    """Three whole calls, one of them taken over, and no error logged: nothing failed."""
    assert failed([ANNA, BEN, CLEO]) == set()


@pytest.mark.parametrize(
    ("calls", "name"),
    [
        pytest.param([without(ANNA, What.GREETED), BEN, CLEO], report.HEARD, id="an agent nobody heard"),
        pytest.param([replace(ANNA, agents_max=2), BEN, CLEO], report.ONE_AGENT, id="two agents in a room"),
        pytest.param([ANNA, BEN, replace(CLEO, audible_max=2)], report.ONE_VOICE, id="two agents audible"),
        pytest.param([without(ANNA, What.AGENT_GONE), BEN, CLEO], report.LEFT, id="an agent that stayed"),
        pytest.param([ANNA, BEN, without(CLEO, What.HEARD_AGAIN)], report.TAKEN_OVER, id="no new agent heard"),
        pytest.param([ANNA, BEN, replace(CLEO, workers=("a", "a"))], report.TAKEN_OVER, id="the same worker again"),
        pytest.param([ANNA, BEN, without(CLEO, *TAKE_OVER)], report.TAKEN_OVER, id="nobody killed"),
        pytest.param([without(ANNA, What.WEBHOOK), BEN, CLEO], report.WEBHOOKS, id="a webhook that never came"),
        pytest.param([without(ANNA, What.ANSWERED), BEN, CLEO], report.ANSWERED, id="an unanswered turn"),
        pytest.param([ANNA, replace(BEN, ended={"barge_ins": 0}), CLEO], report.INTERRUPTED, id="silent by itself"),
        pytest.param([ANNA, without(BEN, What.SILENT), CLEO], report.INTERRUPTED, id="an agent that talks on"),
        pytest.param([replace(ANNA, problem="no agent was seen"), BEN, CLEO], report.WHOLE, id="a broken script"),
    ],
)
def test_what_did_not_happen_fails_the_check_that_names_it(calls: list[CallMade], name: str) -> None:
    """One thing missing or too many fails exactly its own check, which says what to do."""
    assert failed(calls) == {name}
    assert all(check.ok or check.cure for check in report.checks_of(calls, ALL, ()))


def test_an_error_in_a_log_fails_the_run() -> None:
    """What a process logs as an error is not hidden behind calls that went well."""
    assert failed([ANNA, BEN, CLEO], errors=("worker-1: call_bug",)) == {report.NO_ERRORS}


def test_no_calls_is_no_success() -> None:
    """A run without calls proves nothing and fails."""
    assert report.WHOLE in failed([])


def test_of_a_voice_we_do_not_know_no_turns_are_expected() -> None:
    """The real service may answer late or be hard to interrupt: its turns are reported and not judged."""
    calls = [without(ANNA, What.ANSWERED), without(BEN, What.SILENT, What.INTERRUPTED), CLEO]
    assert failed(calls, Expected(webhooks=True, turns=False)) == set()


def test_the_same_problem_of_several_callers_is_said_once() -> None:
    """Whoever cannot join reads one reason and not three."""
    calls = [replace(made, problem="cannot join") for made in (ANNA, BEN, CLEO)]
    (whole,) = (check for check in report.checks_of(calls, ALL, ()) if check.name == report.WHOLE)
    assert whole.detail == "anna, ben, cleo: cannot join"


# -- the report


def test_the_report_is_json_with_every_time_and_says_what_was_simulated() -> None:
    """A program finds each step with its times, each part with whether it was real, and the exit status."""
    parts = [Part("redis", "Valkey", False, 0.1), Part("voice simulator", "ws://", True, 0.5)]
    made = Report(parts=parts, calls=[ANNA, BEN, CLEO], checks=report.checks_of([ANNA, BEN, CLEO], ALL, ()), took_s=9.0)
    told = json.loads(json.dumps(report.as_json(made, voice="simulator")))
    assert (told["ok"], told["exit_status"], told["voice"]) == (True, 0, "simulator")
    assert [part["simulated"] for part in told["parts"]] == [False, True]
    assert [step["step"] for step in told["calls"][0]["steps"]] == [step.what.value for step in ANNA.steps]
    assert told["takeover"] == {
        "caller": "cleo",
        "killed": "worker-1",
        "taken_by": "worker-2",
        "claimed_ms": 10,
        "agent_joined_ms": 10,
        "agent_heard_ms": 10,
    }


def test_a_failed_check_is_exit_status_1() -> None:
    """One failed check is enough."""
    checks = report.checks_of([ANNA, BEN, without(CLEO, What.HEARD_AGAIN)], ALL, ())
    assert Report(parts=[], calls=[], checks=checks, took_s=1.0).exit_status == 1


def test_the_table_leaves_out_what_nobody_measured() -> None:
    """Without a kill there are no rows about one; a time that one caller has shows empty cells for the others."""
    rows = report.measured_rows([ANNA, BEN])
    assert not [name for name, _, _ in rows if "new agent" in name]
    assert next(times for name, _, times in rows if name == "agent silent") == ["", "10 ms"]


@pytest.mark.parametrize(("ms", "text"), [(None, ""), (87, "87 ms"), (999, "999 ms"), (3412, "3.41 s"), (-7, "-7 ms")])
def test_a_duration_is_short(ms: int | None, text: str) -> None:
    """Milliseconds below a second, seconds from there on."""
    assert report.duration(ms) == text


def test_the_env_file_survives_a_shell(tmp_path: Path) -> None:
    """Sourced, it exports each value as it was, quotes and dollars included, and our programs come first on PATH."""
    path = tmp_path / "demo.env"
    value = """redis://:p'a"s$s@127.0.0.1/0"""
    path.write_text(report.env_file({"REDIS_URL": value}, programs="/opt/a place/bin"))
    shown = 'import os; print(os.environ["REDIS_URL"]); print(os.environ["PATH"])'
    script = f"source {path}; {sys.executable} -c '{shown}'"
    out = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[0] == value
    assert out.splitlines()[1].startswith("/opt/a place/bin:")


# -- what the logs say


def test_a_line_counts_from_when_it_was_written() -> None:
    """A line read 2 s late is placed at the moment that stands in it."""
    line = LogLine(0, 102.0, "", {"event": "claimed", "timestamp": "2026-11-01T12:00:00.500000Z"})
    unix = 1793534400.0  # 2026-11-01T12:00:00Z
    assert signs.said_at(line, now=103.0, unix_now=unix + 3.5) == pytest.approx(100.0)


@pytest.mark.parametrize("facts", [{}, {"timestamp": "yesterday"}, {"timestamp": "2030-01-01T00:00:00Z"}])
def test_a_line_is_never_later_than_it_was_read(facts: dict[str, str]) -> None:
    """Without a usable time of its own, or with one of the future, the moment of reading counts."""
    assert signs.said_at(LogLine(0, 102.0, "", facts), now=103.0, unix_now=1793534400.0) == 102.0


# -- settings


def order(*, real: bool = False) -> Order:
    return Order(once=True, as_json=False, real=real, recordings=None)


@pytest.mark.parametrize(
    ("env", "real", "named"),
    [
        pytest.param({}, True, ["ASSEMBLYAI_API_KEY"], id="the real voice without a key"),
        pytest.param({"ASSEMBLYAI_API_KEY": " "}, True, ["ASSEMBLYAI_API_KEY"], id="a blank key"),
        pytest.param({"REDIS_URL": "localhost", "LIVEKIT_URL": "x"}, False, ["LIVEKIT_URL", "REDIS_URL"], id="two"),
        pytest.param({"REDIS_URL": "redis://h/0"}, False, [], id="all is well"),
    ],
)
def test_every_wrong_setting_is_named_with_a_cure(env: dict[str, str], real: bool, named: list[str]) -> None:
    """All problems at once, each a line that begins with the variable."""
    problems = problems_of(order(real=real), env)
    assert [problem.partition(":")[0] for problem in problems] == named
    assert all("Cure:" in problem for problem in problems)


def test_the_talk_page_says_whether_the_voice_is_simulated() -> None:
    """Nobody talks to a simulator and takes it for the service; a run that ends by itself has no page."""
    staying = replace(order(), once=False)
    assert page_env(staying) == {"ROOMPOOL_TALK_PAGE": "1", "ROOMPOOL_TALK_PAGE_SIMULATED": "1"}
    assert page_env(replace(staying, real=True))["ROOMPOOL_TALK_PAGE_SIMULATED"] == "0"
    assert page_env(order()) == {}


async def test_a_redis_with_workers_of_others_is_refused(redis_url: str) -> None:
    """An empty Redis will do; one whose workers beat would mix their calls with ours."""
    await check_redis(ExternalRedis(redis_url))
    redis = lease_redis(redis_url)
    await Carriers(redis).beat(
        CarrierRecord(
            "c-1", worker="w", host="h", pid=1, revision="", capacity=1, in_use=0, draining=False, started_unix_ms=1
        )
    )
    await redis.aclose()
    with pytest.raises(BadSettings, match="workers are at work there"):
        await check_redis(ExternalRedis(redis_url))


async def test_a_redis_that_does_not_answer_is_refused() -> None:
    """A wrong port is a wrong setting, said before anything starts."""
    with pytest.raises(BadSettings, match="does not answer"):
        await check_redis(ExternalRedis("redis://127.0.0.1:1/0"))


def test_a_folder_left_behind_is_removed_and_one_in_use_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next demo clears away what a killed one could not; a running one's and a failed one's folders stay."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for name, pid in {"killed": str(ended.pid), "running": str(os.getpid()), "failed": ""}.items():
        (tmp_path / f"{ending.RUN_DIR_PREFIX}{name}").mkdir()
        if pid:
            (tmp_path / f"{ending.RUN_DIR_PREFIX}{name}" / ending.PID_FILE).write_text(pid)
    ending.sweep_left_behind()
    assert sorted(path.name.removeprefix(ending.RUN_DIR_PREFIX) for path in tmp_path.iterdir()) == ["failed", "running"]


# -- the whole of it, as a user runs it


async def start_demo(tmp_path: Path, *words: str, **variables: str) -> Process:
    """The demo as a process with a temporary folder and recordings of its own."""
    drop = ("LIVEKIT_URL", "REDIS_URL", "ASSEMBLYAI_API_KEY")
    env = {name: value for name, value in os.environ.items() if name not in drop}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "deploy.local.demo",
        *words,
        env={**env, "TMPDIR": str(tmp_path), **variables},
        stdout=PIPE,
        stderr=PIPE,
        start_new_session=True,
    )


async def test_wrong_settings_end_it_before_anything_starts(tmp_path: Path) -> None:
    """Exit status 2 and one line for each; no server, no folder."""
    demo = await start_demo(tmp_path, "--once", "--real", "--json", REDIS_URL="nowhere")
    out, err = await asyncio.wait_for(demo.communicate(), 20)
    assert demo.returncode == 2
    assert out == b""
    assert [line.split()[1] for line in err.decode().splitlines()] == ["ASSEMBLYAI_API_KEY:", "REDIS_URL:"]
    assert not list(tmp_path.iterdir())


@pytest.mark.livekit
@pytest.mark.timeout(200)
async def test_the_whole_demo_passes_and_reports_the_truth(tmp_path: Path) -> None:
    """Exit status 0 and one JSON report: never two agents, another worker took over, and nothing is left behind."""
    temporary, recordings = tmp_path / "tmp", tmp_path / "recordings"
    temporary.mkdir()
    demo = await start_demo(temporary, "--once", "--json", "--record", str(recordings))
    out, err = await asyncio.wait_for(demo.communicate(), 180)
    told = json.loads(out)
    assert [check for check in told["checks"] if not check["ok"]] == []
    assert (demo.returncode, told["exit_status"], told["ok"]) == (0, 0, True)
    assert [made["caller"] for made in told["calls"]] == ["anna", "ben", "cleo"]
    assert all(made["agents_max"] == 1 and made["audible_max"] == 1 for made in told["calls"])
    assert {told["takeover"]["killed"], told["takeover"]["taken_by"]} == {"worker-1", "worker-2"}
    assert [part["name"] for part in told["parts"] if part["simulated"]] == ["voice simulator"]
    assert sorted(path.name for path in recordings.iterdir()) == ["anna.wav", "ben.wav", "cleo.wav"]
    assert b"All is well" in err
    assert not list(temporary.iterdir())


@pytest.mark.livekit
@pytest.mark.timeout(90)
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
async def test_nothing_outlives_it_however_it_is_ended(tmp_path: Path, number: int, status: int) -> None:
    """Ctrl-C, SIGTERM and kill -9 while it starts: its exit status tells which, and no process stays."""
    demo = await start_demo(tmp_path, "--once")
    assert demo.stdout is not None
    async with asyncio.timeout(60):
        while b"livekit-server" not in await demo.stdout.readline():
            pass
    children = children_of(demo.pid)
    assert len(children) >= 3
    demo.send_signal(number)
    await asyncio.wait_for(demo.communicate(), 30)
    assert demo.returncode == status
    await until_gone(children)
    assert status == -9 or not list(tmp_path.iterdir())


@pytest.mark.livekit
@pytest.mark.timeout(90)
async def test_a_second_ctrl_c_ends_it_at_once(tmp_path: Path) -> None:
    """Whoever does not want to wait for good-byes says so twice: the same status, and nothing stays either."""
    demo = await start_demo(tmp_path, "--once")
    assert demo.stdout is not None
    async with asyncio.timeout(60):
        while b"in the room" not in await demo.stdout.readline():
            pass
    children = children_of(demo.pid)
    demo.send_signal(signal.SIGINT)
    demo.send_signal(signal.SIGINT)
    await asyncio.wait_for(demo.communicate(), 30)
    assert demo.returncode == 130
    await until_gone(children)
    assert not list(tmp_path.iterdir())


def children_of(pid: int) -> list[int]:
    """The processes it started that are alive, by the kernel's word."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found if is_alive(int(child))]
