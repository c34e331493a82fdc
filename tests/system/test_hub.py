"""Whether a server answers: asked once, with a time-out, and one line if it does not."""

import time

import pytest
from hub_server import hub, silence

import tinyllm.system.hub
from tinyllm.system.hub import check_reachable, hub_endpoint


def test_the_hub_is_the_public_one_unless_the_environment_names_another(monkeypatch):
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert hub_endpoint() == "https://huggingface.co"
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9/")
    assert hub_endpoint() == "http://127.0.0.1:9"


@pytest.mark.parametrize("status", [200, 500])
def test_any_answer_is_enough_and_it_is_asked_for_once(status):
    with hub({}, status=status) as server:
        check_reachable(server.address + "/nothing", "a test", "do without")
        assert server.requests == ["HEAD /nothing"]


def test_where_nothing_listens_one_line_says_what_for_and_what_instead():
    with pytest.raises(ConnectionError) as error:
        check_reachable("http://127.0.0.1:9", "a test", "do without")
    message = str(error.value)
    assert message == "could not reach http://127.0.0.1:9 (ConnectionError), which is needed for a test; do without"


def test_a_server_that_never_answers_is_given_up_in_time(monkeypatch):
    monkeypatch.setattr(tinyllm.system.hub, "TIMEOUT", 0.2)
    began = time.monotonic()
    with silence() as address, pytest.raises(ConnectionError, match="Timeout"):
        check_reachable(address, "a test", "do without")
    assert time.monotonic() - began < 3
