"""Slips of one place in a function's code, each with what to say of an answer that behaves as if it had made it."""

import ast
from collections.abc import Callable, Iterator
from typing import Any

from tinyllm.course.checking.transformations import TRANSFORMATIONS

Edit = Callable[[Any], ast.AST]  # what takes the place of a node in a copy of the tree

_OPERATORS: dict[type[ast.operator], tuple[type[ast.operator], str, str]] = {
    ast.Add: (ast.Sub, "-", "+"), ast.Sub: (ast.Add, "+", "-"), ast.Mult: (ast.Div, "/", "*"),
    ast.Div: (ast.Mult, "*", "/"),
}  # fmt: skip
_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt), ast.LtE: (ast.Lt, ast.GtE), ast.Gt: (ast.GtE, ast.Lt), ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}  # fmt: skip
_SIGNS = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=", ast.In: "in",
    ast.NotIn: "not in",
}  # fmt: skip
_FAMILIES = (
    ("sum", "mean", "prod", "max", "min", "amax", "median", "norm"), ("max", "min"), ("argmax", "argmin"),
    ("cos", "sin"), ("tril", "triu"), ("zeros", "ones"), ("std", "var"), ("cumsum", "cumprod"),
    ("silu", "sigmoid", "relu", "gelu", "tanh", "hardswish", "mish", "elu", "softplus", "leaky_relu"),
    ("log", "log2", "log10", "log1p"), ("exp", "exp2", "expm1", "log"),
    ("softmax", "log_softmax", "sigmoid", "softmin"), ("sqrt", "square"), ("erf", "tanh", "sigmoid"),
)  # fmt: skip
_BUILTINS = (("sum", "max", "min", "len"), ("round", "int"))
_MODULES = ("torch", "math", "F", "np", "nn", "random")
_LONGEST = 24  # characters of an expression that is named by its own text


def edits(node: Any, names: list[str]) -> Iterator[tuple[str, Edit]]:
    """What may go wrong at a node. `names` are the values that may stand where another belongs."""
    match node:
        case ast.BinOp():
            yield from _of_operation(node)
        case ast.Compare(ops=[op]) if type(op) in _COMPARISONS:
            for other in _COMPARISONS[type(op)]:
                words = f"{_SIGNS[other]} in one place where {_SIGNS[type(op)]} belongs"
                yield _with(words), _operator(other, "ops")
        case ast.BoolOp():
            for index in range(len(node.values)):
                yield _if("one of two conditions is left out"), _without_value(index)
        case ast.UnaryOp(op=ast.USub()):
            yield _if("one minus sign is left out"), lambda target: target.operand
        case ast.UnaryOp(op=ast.Not() | ast.Invert()):
            yield _if("a condition is turned round"), lambda target: target.operand
        case ast.Call():
            yield from _of_call(node)
        case ast.Subscript():
            yield _if(f"the whole of {_text(node.value)} is taken, not a part"), lambda target: target.value
        case ast.IfExp():
            yield _if("one of two cases is treated like the other"), lambda target: target.body
            yield _if("one of two cases is treated like the other"), lambda target: target.orelse
        case ast.Return(value=ast.expr()):
            yield from _of_return(node, names)
        case ast.For() | ast.comprehension():
            yield from _of_loop()
        case ast.stmt():
            yield from _of_step(node)
    yield from _of_value(node, names)


def _with(words: str) -> str:
    return f"You get what comes out with {words}."


def _if(words: str) -> str:
    return f"You get what comes out if {words}."


def always(node: ast.AST) -> Edit:
    return lambda _: node


def _text(node: ast.AST) -> str:
    """An expression in its own words if these are few, otherwise by its kind."""
    text = ast.unparse(node)
    if len(text) <= _LONGEST:
        return f"`{text}`"
    match node:
        case ast.BinOp(op=ast.Add()):
            return "a sum"
        case ast.BinOp(op=ast.Sub()):
            return "a difference"
        case ast.BinOp(op=ast.Div() | ast.FloorDiv()):
            return "a quotient"
        case ast.BinOp(op=ast.Mult() | ast.MatMult()):
            return "a product"
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)):
            return f"the result of `{name}`"
    return "an intermediate result"


def _of_value(node: Any, names: list[str]) -> Iterator[tuple[str, Edit]]:
    """What takes the place of a value: another one, or something made of it."""
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            yield from _of_constant(value)
        case ast.Name(id=name, ctx=ast.Load()) if name in names:
            for other in names:
                if other != name:
                    words = f"`{other}` in one place where `{name}` belongs"
                    yield _with(words), always(ast.Name(other, ast.Load()))
        case ast.BinOp() | ast.Call() | ast.Subscript():
            pass
        case _:
            return
    if not isinstance(node, ast.Constant):
        for words, transformation in TRANSFORMATIONS.items():
            what, colon, why = words.format(_text(node)).partition(":")
            yield _with(f"{what} in one place{colon}{why}"), _wrapped(transformation)


def _wrapped(transformation: str) -> Edit:
    return lambda target: ast.Call(ast.Name(transformation, ast.Load()), [target], [])


def _of_constant(value: float) -> Iterator[tuple[str, Edit]]:
    others = (
        (value + 1, value - 1, -1 - value, 2 * value)
        if isinstance(value, int)
        else (2 * value, value / 2, 10 * value, value / 10)
    )
    for number in dict.fromkeys(others):
        words = f"{number:g} in one place (an index, a dimension, a count) where {value:g} belongs"
        if number != value:
            yield _with(words), always(ast.Constant(number))


def _of_operation(node: ast.BinOp) -> Iterator[tuple[str, Edit]]:
    if type(node.op) in _OPERATORS:
        other, there, right = _OPERATORS[type(node.op)]
        yield _with(f"{there} in one place where {right} belongs"), _operator(other, "op")
    match node.op:
        case ast.Add() | ast.Sub():
            missing = "a term of a sum or difference is left out"
        case ast.Mult():
            missing = "one factor is left out"
        case ast.MatMult():
            missing = "one matrix product is left out"
            yield _with("the two sides of a matrix product exchanged"), _turned
        case ast.Div() | ast.FloorDiv():
            yield _if("one division is left out"), lambda target: target.left
            yield "You get what comes out upside down, b / a in place of a / b.", _turned
            return
        case ast.Pow():
            yield _if("one power is left out"), lambda target: target.left
            return
        case _:
            return
    yield _if(missing), lambda target: target.left
    yield _if(missing), lambda target: target.right
    if isinstance(node.op, ast.Sub):
        yield _with("b - a in one place where a - b belongs"), _turned


def _turned(target: ast.BinOp) -> ast.AST:
    return ast.BinOp(target.right, target.op, target.left)


def _operator(other: Callable[[], ast.AST], place: str) -> Edit:
    def edit(target: Any) -> ast.AST:
        setattr(target, place, [other()] if place == "ops" else other())
        return target  # type: ignore[no-any-return]

    return edit


def _without_value(index: int) -> Edit:
    def edit(target: Any) -> ast.AST:
        del target.values[index]
        return target if len(target.values) > 1 else target.values[0]  # type: ignore[no-any-return]

    return edit


def _of_call(node: ast.Call) -> Iterator[tuple[str, Edit]]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if isinstance(node.func, ast.Attribute) and not _is_module(node.func.value):
        yield _if(f"`{name}` is left out"), lambda target: target.func.value
    elif node.args:
        yield _if(f"`{name}` is left out"), lambda target: target.args[0]
    for family in _FAMILIES if isinstance(node.func, ast.Attribute) else _BUILTINS:
        for other in family if name in family else ():
            if other != name:
                yield _with(f"`{other}` where `{name}` belongs"), _renamed(other)
    for keyword in node.keywords:
        yield _if(f"`{name}` is called without `{keyword.arg}`"), _without(keyword.arg)


def _renamed(other: str) -> Edit:
    def edit(target: Any) -> ast.AST:
        if isinstance(target.func, ast.Attribute):
            target.func.attr = other
        else:
            target.func.id = other
        return target  # type: ignore[no-any-return]

    return edit


def _without(argument: str | None) -> Edit:
    def edit(target: Any) -> ast.AST:
        target.keywords = [keyword for keyword in target.keywords if keyword.arg != argument]
        return target  # type: ignore[no-any-return]

    return edit


def _is_module(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in _MODULES


def _of_return(node: ast.Return, names: list[str]) -> Iterator[tuple[str, Edit]]:
    for name in names:
        yield f"You return `{name}`, which is not yet the result.", _returning(name)


def _returning(name: str) -> Edit:
    return lambda _: ast.Return(ast.Name(name, ast.Load()))


def _of_loop() -> Iterator[tuple[str, Edit]]:
    """What a loop may go over instead."""
    for part, words in (
        ("[:1]", "goes over the first only"),
        ("[-1:]", "goes over the last only"),
        ("[1:]", "leaves out the first"),
        ("[:-1]", "leaves out the last"),
        ("[::2]", "leaves out every second"),
        ("[::-1]", "runs backwards"),
    ):
        yield _if(f"a loop {words}"), _over(part)


def _over(part: str) -> Edit:
    def edit(target: Any) -> ast.AST:
        taken: Any = ast.parse(f"list(_){part}", mode="eval").body
        taken.value.args = [target.iter]
        target.iter = taken
        return target  # type: ignore[no-any-return]

    return edit


def _of_step(node: Any) -> Iterator[tuple[str, Edit]]:
    """A statement that is left out."""
    match node:
        case ast.If():
            yield _if("the special case is left out"), always(ast.Pass())
            yield _if("a special case is made of every case"), _every_case
        case (
            ast.Expr(value=ast.Call(func=ast.Attribute(attr=name)))
            | ast.Assign(value=ast.Call(func=ast.Attribute(attr=name)))
        ):
            yield _if(f"the step with `{name}` is left out"), always(ast.Pass())
        case ast.Assign() | ast.AugAssign():
            made = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
            yield _if(f"the step that makes `{made}` is left out"), always(ast.Pass())


def _every_case(target: ast.If) -> ast.AST:
    target.test = ast.Constant(True)
    return target
