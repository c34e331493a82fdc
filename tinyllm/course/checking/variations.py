"""Small changes to a reference, each with what to say of an answer that behaves as the changed one does."""

import ast
import inspect
import sys
from collections.abc import Hashable, Iterator
from functools import cache
from typing import Any

from tinyllm.course.checking.edits import Edit, always, edits
from tinyllm.course.checking.registry import EXERCISES, Function, source_of
from tinyllm.course.checking.transformations import FUNCTIONS

Path = tuple[tuple[str, int | None], ...]  # the way to a node: fields, and places in them
Variation = tuple[str, Function]  # a sentence that is true of whatever has the results of the function


def variations(reference: Function) -> Iterator[Variation]:
    """Each changed reference, the plainest changes first. Those made once are kept."""
    made, rest = _begun(reference)
    for index in range(sys.maxsize):
        if index == len(made):
            if (one := next(rest, None)) is None:
                return
            made.append(one)
        yield made[index]


def with_numbers(reference: Function, numbers: list[float]) -> Iterator[Variation]:
    """The reference with one of these numbers in the place of one of its own, of infinity or of a named value."""
    source, tree = _source(reference)
    names = _names(tree, reference)
    for node, path in _nodes(tree, ()):
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                right = f"{value:g}"
            case ast.Attribute(attr="inf"):
                right = "infinity"
            case ast.Name(id=name, ctx=ast.Load()) if name in names:
                right = f"`{name}`"
            case _:
                continue
        for number in numbers:
            number = abs(number) if right == "infinity" else number  # the minus is not part of it
            if made := _compiled(_changed(source, path, always(ast.Constant(number))), reference):
                yield f"You get what comes out with {number:g} in one place where {right} belongs.", made


@cache
def _begun(reference: Function) -> tuple[list[Variation], Iterator[Variation]]:
    return [], _make(reference)


def _make(reference: Function) -> Iterator[Variation]:
    source, tree = _source(reference)
    names = _names(tree, reference)
    changes = [
        (_rank(node, sentence), path, sentence, edit)
        for node, path in _nodes(tree, ())
        for sentence, edit in edits(node, names)
    ]
    for _, path, sentence, edit in sorted(changes, key=lambda one: one[0]):
        if made := _compiled(_changed(source, path, edit), reference):
            yield sentence, made
    for helper in _helpers(tree, reference):
        for sentence, function in variations(helper):
            if made := _compiled(tree, reference, {helper.__name__: function}):
                yield f"In `{helper.__name__}`: {sentence[0].lower()}{sentence[1:]}", made


def _source(reference: Function) -> tuple[str, ast.Module]:
    source = ast.unparse(_plain(ast.parse(source_of(reference))))
    return source, ast.parse(source)


def _plain(tree: ast.Module) -> ast.Module:
    """Without types and texts, which change nothing."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) and len(node.body) > 1:
            del node.body[0]
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
    plain: ast.Module = _WithoutTypes().visit(tree)
    return ast.fix_missing_locations(plain)


class _WithoutTypes(ast.NodeTransformer):
    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        return ast.Assign([node.target], node.value) if node.value else ast.Pass()


def _nodes(node: ast.AST, path: Path) -> Iterator[tuple[ast.AST, Path]]:
    """All nodes below one, with the way there."""
    for field, value in ast.iter_fields(node):
        for index, child in enumerate(value) if isinstance(value, list) else ((None, value),):
            if isinstance(child, ast.AST):
                yield child, (*path, (field, index))
                yield from _nodes(child, (*path, (field, index)))


def _changed(source: str, path: Path, edit: Edit) -> ast.Module:
    """A fresh tree with one node edited."""
    tree = ast.parse(source)
    node: Any = tree
    for field, index in path:
        parent, node = node, getattr(node, field)
        node = node if index is None else node[index]
    new = ast.fix_missing_locations(edit(node))
    field, index = path[-1]
    if index is None:
        setattr(parent, field, new)
    else:
        getattr(parent, field)[index] = new
    return tree


def _names(tree: ast.AST, reference: Function) -> list[str]:
    """The parameters, and what is made on the way."""
    made = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    return list(dict.fromkeys([*inspect.signature(reference).parameters, *made]))


def _helpers(tree: ast.AST, reference: Function) -> list[Function]:
    """Other exercises' references that this one calls."""
    known = {one.reference for one in EXERCISES.values()} - {reference}
    names = dict.fromkeys(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
    found = [getattr(sys.modules[reference.__module__], name, None) for name in names]
    return [one for one in found if isinstance(one, Hashable) and one in known]


def _rank(node: ast.AST, sentence: str) -> int:
    """What may fit by chance comes last, and what has its own words in the code first."""
    if isinstance(node, ast.Constant):
        return 3
    if isinstance(node, ast.Name) and "where" in sentence:
        return 2
    return int(sentence.endswith("in one place."))


def _compiled(tree: ast.Module, reference: Function, others: dict[str, Function] | None = None) -> Function | None:
    names = {**vars(sys.modules[reference.__module__]), **FUNCTIONS, **(others or {})}
    try:
        exec(compile(tree, "<variation>", "exec"), names)
    except (SyntaxError, ValueError, TypeError):  # such as a condition without values
        return None
    made: Any = names[reference.__name__]
    made.__signature__ = inspect.signature(reference)
    return made  # type: ignore[no-any-return]
