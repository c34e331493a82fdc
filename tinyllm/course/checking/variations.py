"""Small changes to a reference, each with what to say of an answer that behaves as the changed one does."""

import ast
import copy
import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Any

from tinyllm.course.checking.registry import Function, source_of

Edit = Callable[[Any], ast.AST | None]  # what takes the place of a node in a copy of the tree; None: nothing does

_OPERATORS: dict[type[ast.operator], tuple[type[ast.operator], str, str]] = {
    ast.Add: (ast.Sub, "-", "+"), ast.Sub: (ast.Add, "+", "-"), ast.Mult: (ast.Div, "/", "*"),
    ast.Div: (ast.Mult, "*", "/"),
}  # fmt: skip
_BOUNDARIES: dict[type[ast.cmpop], tuple[type[ast.cmpop], str, str]] = {
    ast.Lt: (ast.LtE, "<=", "<"), ast.LtE: (ast.Lt, "<", "<="), ast.Gt: (ast.GtE, ">=", ">"),
    ast.GtE: (ast.Gt, ">", ">="),
}  # fmt: skip
_FAMILIES = (
    ("sum", "mean", "prod"), ("max", "min"), ("argmax", "argmin"), ("cos", "sin"), ("tril", "triu"),
    ("silu", "sigmoid", "relu", "gelu", "tanh"), ("log", "log2", "log10"), ("softmax", "log_softmax", "sigmoid"),
    ("sqrt", "square"),
)  # fmt: skip
_RANKS: dict[type[ast.AST], int] = {ast.Name: 1, ast.Constant: 2}  # what may fit by chance comes last


def variations(reference: Function) -> Iterator[tuple[str, Function]]:
    """Each changed reference, after a sentence that is true of whatever has its results."""
    tree = ast.parse(source_of(reference))
    function: Any = tree.body[0]
    parameters = list(inspect.signature(reference).parameters)
    edits = [
        (_RANKS.get(type(node), 0), index, sentence, edit)
        for index, node in enumerate(ast.walk(function))
        for sentence, edit in _edits(node, parameters)
    ]
    for _, index, sentence, edit in sorted(edits, key=lambda one: one[0]):
        changed = copy.deepcopy(tree)
        target = list(ast.walk(changed.body[0]))[index]
        if made := _compiled(_Replace(target, edit).visit(changed), reference):
            yield sentence, made


def _compiled(tree: ast.Module, reference: Function) -> Function | None:
    names = dict(vars(sys.modules[reference.__module__]))
    try:
        exec(compile(ast.fix_missing_locations(tree), "<variation>", "exec"), names)
    except SyntaxError:  # such as a body without a statement
        return None
    made: Any = names[reference.__name__]
    made.__signature__ = inspect.signature(reference)
    return made  # type: ignore[no-any-return]


def _edits(node: Any, parameters: list[str]) -> Iterator[tuple[str, Edit]]:
    match node:
        case ast.BinOp():
            yield from _of_operation(node)
        case ast.Compare(ops=[op]) if type(op) in _BOUNDARIES:
            other, there, right = _BOUNDARIES[type(op)]
            yield f"You get what comes out with {there} in one place where {right} belongs.", _operator(other, "ops")
        case ast.UnaryOp(op=ast.USub()):
            yield "You get what comes out if one minus sign is left out.", lambda target: target.operand
        case ast.UnaryOp(op=ast.Not() | ast.Invert()):
            yield "You get what comes out if a condition is turned round.", lambda target: target.operand
        case ast.Constant(value=int(value)) if not isinstance(value, bool):
            for number in (value + 1, value - 1, -1 - value):
                yield (
                    f"You get what comes out with {number} in one place (an index, a dimension, a count) where {value} "
                    "belongs.",
                    _always(ast.Constant(number)),
                )
        case ast.Call():
            yield from _of_call(node)
        case ast.Name(id=name, ctx=ast.Load()) if name in parameters:
            for parameter in parameters:
                if parameter != name:
                    words = f"You get what comes out with `{parameter}` in one place where `{name}` belongs."
                    yield words, _always(ast.Name(parameter, ast.Load()))
        case ast.If():
            yield "You get what comes out if the special case is left out.", lambda target: None
        case (
            ast.Expr(value=ast.Call(func=ast.Attribute(attr=name)))
            | ast.Assign(value=ast.Call(func=ast.Attribute(attr=name)))
        ):
            yield f"You get what comes out if the step with `{name}` is left out.", lambda target: None
        case ast.Assign() | ast.AugAssign():
            yield f"You get what comes out if the step that makes `{_made(node)}` is left out.", lambda target: None


def _always(node: ast.AST) -> Edit:
    return lambda _: node


def _made(node: ast.Assign | ast.AugAssign) -> str:
    return ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)


def _of_operation(node: ast.BinOp) -> Iterator[tuple[str, Edit]]:
    if type(node.op) in _OPERATORS:
        other, there, right = _OPERATORS[type(node.op)]
        yield f"You get what comes out with {there} in one place where {right} belongs.", _operator(other, "op")
    match node.op:
        case ast.Add() | ast.Sub():
            missing = "a term of a sum or difference is left out"
        case ast.Mult():
            missing = "one factor is left out"
        case ast.Div():
            yield "You get what comes out if one division is left out.", lambda target: target.left
            yield "You get what comes out upside down, b / a in place of a / b.", _upside_down
            return
        case ast.Pow():
            yield "You get what comes out if one power is left out.", lambda target: target.left
            return
        case _:
            return
    yield f"You get what comes out if {missing}.", lambda target: target.left
    yield f"You get what comes out if {missing}.", lambda target: target.right


def _upside_down(target: ast.BinOp) -> ast.AST:
    return ast.BinOp(target.right, target.op, target.left)


def _operator(other: Callable[[], ast.AST], place: str) -> Edit:
    def edit(target: Any) -> ast.AST:
        setattr(target, place, [other()] if place == "ops" else other())
        return target  # type: ignore[no-any-return]

    return edit


def _of_call(node: ast.Call) -> Iterator[tuple[str, Edit]]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if isinstance(node.func, ast.Attribute) and not _is_module(node.func.value):
        yield f"You get what comes out if `{name}` is left out.", lambda target: target.func.value
    elif node.args:
        yield f"You get what comes out if `{name}` is left out.", lambda target: target.args[0]
    for family in _FAMILIES if isinstance(node.func, ast.Attribute) else ():
        for other in family if name in family else ():
            if other != name:
                yield f"You get what comes out with `{other}` where `{name}` belongs.", _renamed(other)
    for keyword in node.keywords:
        words = f"You get what comes out if `{name}` is called without `{keyword.arg}`."
        yield words, _without(keyword.arg)


def _renamed(other: str) -> Edit:
    def edit(target: Any) -> ast.AST:
        target.func.attr = other
        return target  # type: ignore[no-any-return]

    return edit


def _without(argument: str | None) -> Edit:
    def edit(target: Any) -> ast.AST:
        target.keywords = [keyword for keyword in target.keywords if keyword.arg != argument]
        return target  # type: ignore[no-any-return]

    return edit


def _is_module(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in ("torch", "math", "F", "np", "nn", "random")


class _Replace(ast.NodeTransformer):
    def __init__(self, target: ast.AST, edit: Edit):
        self.target, self.edit = target, edit

    def visit(self, node: ast.AST) -> Any:
        return self.edit(node) if node is self.target else self.generic_visit(node)
