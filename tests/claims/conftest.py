"""A claim's test has the marker `claim` with its name, and measures with the fixture `evidence`."""

from collections.abc import Iterator

import evidence as judge
import pytest

MEASURED: list[str] = []  # the rows of this run


def pytest_configure(config: pytest.Config) -> None:
    if seeds := config.getoption("--seeds"):
        if not config.getoption("--claims"):
            raise pytest.UsageError("--seeds is for --claims")
        try:
            judge.judge_with([int(seed) for seed in seeds.split(",")])
        except ValueError as error:
            raise pytest.UsageError(f"--seeds {seeds}: {error}") from error


def pytest_itemcollected(item: pytest.Item) -> None:
    """A claim's test is found by the claim's name: `-k 12.law_fits`."""
    if claim := item.get_closest_marker("claim"):
        item.extra_keyword_matches.add(claim.args[0])


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> Iterator[judge.Evidence]:
    """What the test of a claim measures; written to results.md, whatever the verdict."""
    measured = judge.Evidence(request.node.get_closest_marker("claim").args[0])
    yield measured
    MEASURED.extend(measured.rows)
    if measured.rows:  # none where the test failed before it had measured anything
        measured.write()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.getoption("--seeds"):
        terminalreporter.section(f"with seeds {config.getoption('--seeds')}; results.md is left as it was")
        for row in MEASURED:
            terminalreporter.line(row)
