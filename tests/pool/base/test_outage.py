"""Which errors of Redis are an outage."""

import pytest
from redis import exceptions as redis_errors

from pool.base.outage import fault_of, outage_of


@pytest.mark.parametrize(
    ("error", "word"),
    [
        pytest.param(redis_errors.ConnectionError("refused"), "ConnectionError", id="refused"),
        pytest.param(redis_errors.BusyLoadingError("loading"), "BusyLoadingError", id="loading"),
        pytest.param(redis_errors.TimeoutError(), "TimeoutError", id="no answer"),
        pytest.param(redis_errors.ReadOnlyError("replica"), "ReadOnlyError", id="a replica"),
        pytest.param(TimeoutError(), "TimeoutError", id="our own limit"),
        pytest.param(redis_errors.ResponseError("MISCONF Errors writing to disk"), "MISCONF", id="disk full"),
        pytest.param(redis_errors.ResponseError("BUSY Redis is busy running a script"), "BUSY", id="a long script"),
        pytest.param(redis_errors.ResponseError("DENIED protected mode"), "DENIED", id="protected mode"),
        pytest.param(redis_errors.ResponseError("NOREPLICAS Not enough"), "NOREPLICAS", id="no replicas"),
        pytest.param(redis_errors.ResponseError("MASTERDOWN Link is down"), "MASTERDOWN", id="no primary"),
        pytest.param(
            redis_errors.ResponseError("Command # 2 (SET a) of pipeline caused error: ('MISCONF Errors writing',)"),
            "MISCONF",
            id="in a pipeline",
        ),
        pytest.param(
            redis_errors.ResponseError("Error running script (call to f_a7): @user_script:1: @user_script: 1: -OOM no"),
            "OOM",
            id="in a script of Redis 6",
        ),
        pytest.param(redis_errors.ResponseError("WRONGTYPE against a key"), None, id="a key of another type"),
        pytest.param(redis_errors.ResponseError("BUSYGROUP exists"), None, id="another word that begins alike"),
        pytest.param(redis_errors.ResponseError(""), None, id="no word at all"),
        pytest.param(redis_errors.DataError("None"), None, id="what we should not have sent"),
        pytest.param(ZeroDivisionError(), None, id="a bug"),
    ],
)
def test_an_outage_is_what_a_repeat_or_an_operator_cures(error: BaseException, word: str | None) -> None:
    """By class where redis-py has one, else by the first word of the reply."""
    assert outage_of(error) == word


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (redis_errors.ConnectionError("refused"), "ConnectionError"),
        (redis_errors.ResponseError("MISCONF Errors writing to disk"), "MISCONF"),
        (redis_errors.ResponseError("WRONGTYPE against a key"), "WRONGTYPE"),
        (redis_errors.ResponseError("user_script:1: what somebody said"), "ResponseError"),
        (redis_errors.ResponseError(""), "ResponseError"),
        (redis_errors.WatchError("what somebody said"), "WatchError"),
    ],
)
def test_any_error_has_a_word_for_the_log(error: BaseException, word: str) -> None:
    """Never its text."""
    assert fault_of(error) == word
