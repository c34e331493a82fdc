"""A claim's test has the marker `claim` with its name, and measures with the fixture `evidence`."""

from collections.abc import Iterator

import pytest
from evidence import Evidence


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> Iterator[Evidence]:
    """What the test of a claim measures; written to results.md, whatever the verdict."""
    measured = Evidence(request.node.get_closest_marker("claim").args[0])
    yield measured
    if measured.rows:  # none where the test failed before it had measured anything
        measured.write()
