"""Small changes to a function's source, one at a time: what a grader must not take for the real thing."""

import ast
import copy
import inspect
import sys
from collections.abc import Callable, Iterator

from tinyllm.course.checking.registry import source_of

_SWAPPED = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.MatMult: ast.Mult, ast.Pow: ast.Mult,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


def mutants(reference: Callable) -> Iterator[tuple[str, Callable]]:
    """Each mutant of a function with a line that says what was changed: "line 3: a + b -> a - b"."""
    tree = ast.parse(source_of(reference))
    function = tree.body[0]
    if ast.get_docstring(function) is not None:
        del function.body[0]
    for index, node in enumerate(ast.walk(function)):
        for change in _changes(node):
            mutant = copy.deepcopy(tree)
            target = list(ast.walk(mutant.body[0]))[index]
            before = ast.unparse(target)
            replaced = change(target)
            if replaced is not target:
                mutant = _Replace(target, replaced).visit(mutant)
            after = ast.unparse(replaced)
            names = dict(vars(sys.modules[reference.__module__]))
            exec(compile(ast.fix_missing_locations(mutant), "<mutant>", "exec"), names)
            original = inspect.signature(reference)
            names[reference.__name__].__signature__ = original
            line = getattr(node, "lineno", 0)
            yield f"line {line}: {before} -> {after}", names[reference.__name__]


def _changes(node: ast.AST) -> Iterator[Callable[[ast.AST], ast.AST]]:
    """What can be changed about one node: functions that take the node in a copy and return its replacement."""
    match node:
        case ast.BinOp() | ast.AugAssign() | ast.BoolOp() if type(node.op) in _SWAPPED:
            yield _swap_operator
        case ast.Compare() if type(node.ops[0]) in _SWAPPED:
            yield _swap_comparison
        case ast.UnaryOp(op=ast.USub() | ast.Not() | ast.Invert()):
            yield lambda target: target.operand
        case ast.Constant(value=bool()):
            yield lambda target: ast.Constant(not target.value)
        case ast.Constant(value=int()):
            yield lambda target: ast.Constant(target.value + 1)
            yield lambda target: ast.Constant(target.value - 1)
        case ast.Constant(value=float()):
            yield lambda target: ast.Constant(2 * target.value or 1.0)
        case ast.IfExp():
            yield lambda target: target.body
            yield lambda target: target.orelse
        case ast.Call(func=ast.Attribute()) if not _is_module(node.func.value):
            yield lambda target: target.func.value  # x.tril() -> x


def _swap_operator(target: ast.AST) -> ast.AST:
    target.op = _SWAPPED[type(target.op)]()
    return target


def _swap_comparison(target: ast.AST) -> ast.AST:
    target.ops[0] = _SWAPPED[type(target.ops[0])]()
    return target


def _is_module(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in ("torch", "math", "F", "np", "nn", "random")


class _Replace(ast.NodeTransformer):
    def __init__(self, target: ast.AST, replacement: ast.AST):
        self.target, self.replacement = target, replacement

    def visit(self, node: ast.AST) -> ast.AST:
        return self.replacement if node is self.target else self.generic_visit(node)
