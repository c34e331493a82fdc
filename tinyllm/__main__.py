"""`python -m tinyllm`, or `tinyllm`: the whole command line, the course's commands included."""

import sys
from collections.abc import Sequence

from tinyllm.commands.cli import COMMANDS, Commands, Result, path_argument, run_command
from tinyllm.commands.cli_options import GradeOptions, parse


def _grade(arguments: list[str]) -> Result:
    from tinyllm.course.checking.grading import grade  # only here: it takes a second to import

    path, rest = path_argument(arguments, "the notebook", "grade notebooks/my/03_attention.ipynb")
    options = parse(GradeOptions(), rest, "grade NOTEBOOK")
    result = grade(path, options.cell_seconds)
    for name, verdict in result["exercises"].items():
        print(f"{verdict['verdict']:14s} {name}")
        if verdict["diagnosis"]:
            print(f"{'':14s} {verdict['diagnosis']}")
    print(f"{result['solved']} of {len(result['exercises'])} solved")
    return result


ALL_COMMANDS: Commands = COMMANDS | {
    "grade": (_grade, "NOTEBOOK: run a learner's notebook, and say which exercises are solved"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; see `run_command`."""
    return run_command(arguments, ALL_COMMANDS)


if __name__ == "__main__":
    sys.exit(main())
