"""Small faults in Python source, one at a time: what ``mutation.py`` puts into the code.

Mutated: arithmetic, comparisons and their boundaries, and/or, not, signs, conditions, numbers by one more and one less,
booleans, the order of the first two arguments, a removed statement, an early return. With numbers and booleans the
defaults of arguments and fields change too. Not mutated: docstrings, annotations, decorators, base classes, imports,
and what a raised error, a log or an f-string says.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}  # fmt: skip
SKIPPED = ("annotation", "returns", "decorator_list", "bases", "exc", "cause")
TALKS = ("logger.", "logging.", "warnings.", "if TYPE_CHECKING", "__all__")


@dataclass(frozen=True)
class Mutant:
    """A file with one fault; file, line and change name it, also when other lines have moved."""

    root: Path
    file: str
    number: int
    line: str
    change: str
    source: str

    @property
    def named(self) -> dict[str, Any]:
        return {"file": self.file, "number": self.number, "line": self.line, "change": self.change}


def mutants_of(path: Path, root: Path) -> list[Mutant]:
    """All mutants of a file, in the order of its lines. Each line stays where it is."""
    text = path.read_bytes()
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = {}
    for node, new in _changes(ast.parse(text)):
        first, last = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        old = text[first:last].decode()
        filled = new + "\n" * (old.count("\n") - new.count("\n"))
        put = f"({filled})" if isinstance(node, ast.expr) else filled
        change = f"{' '.join(old.split())[:60]} -> {' '.join(new.split())[:60]}"
        found[node.lineno, node.col_offset, change] = Mutant(
            root,
            str(path.relative_to(root)),
            node.lineno,
            text.decode().splitlines()[node.lineno - 1].strip(),
            change,
            (text[:first] + put.encode() + text[last:]).decode(),
        )
    return [found[place] for place in sorted(found)]


def _changes(tree: ast.AST) -> Iterator[tuple[Any, str]]:
    """Nodes of the source, and what is to stand in their place."""
    for node in _reached(tree):
        match node:
            case ast.BinOp(op=op) if type(op) in ARITHMETIC:
                yield node, _with(node, "op", ARITHMETIC[type(op)]())
            case ast.AugAssign(op=op):
                yield node, "pass"
                if type(op) in ARITHMETIC:
                    yield node, _with(node, "op", ARITHMETIC[type(op)]())
            case ast.Compare(ops=[op]):
                for other in COMPARISONS[type(op)]:
                    yield node, _with(node, "ops", [other()])
            case ast.Compare(ops=ops):
                for i, op in enumerate(ops):
                    yield node, _with(node, "ops", [*ops[:i], COMPARISONS[type(op)][0](), *ops[i + 1 :]])
            case ast.BoolOp(op=op):
                yield node, _with(node, "op", ast.And() if isinstance(op, ast.Or) else ast.Or())
            case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
                yield node, ast.unparse(operand)
            case ast.Constant(value=bool(value)):
                yield node, str(not value)
            case ast.Constant(value=int(value) | float(value)):
                yield node, str(value + 1)
                yield node, str(value - 1)
            case ast.Call(args=[first, second, *rest]) if not {type(first), type(second)} & {ast.Starred}:
                yield node, _with(node, "args", [second, first, *rest])
            case ast.Break() | ast.Continue() | ast.Raise() | ast.Expr(value=ast.Call()):
                yield node, "pass"
            case ast.Assign(targets=targets) if all(isinstance(t, ast.Attribute | ast.Subscript) for t in targets):
                yield node, "pass"
            case ast.FunctionDef(body=body):
                first = next((part for part in body if not _is_text(part)), None)
                if first is not None and not isinstance(first, ast.Raise) and not hasattr(first, "body"):
                    yield first, f"return None; {ast.unparse(first)}"
        match node:
            case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test) if not isinstance(
                test, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Constant | ast.BinOp
            ):
                yield test, f"not ({ast.unparse(test)})"


def _reached(node: ast.AST) -> Iterator[ast.AST]:
    """What may be mutated; a node before its parts."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in SKIPPED or (name == "keywords" and isinstance(node, ast.ClassDef)):
            continue
        for part in value if isinstance(value, list) else [value]:
            if not isinstance(part, ast.AST) or isinstance(part, ast.JoinedStr | ast.Import | ast.ImportFrom):
                continue
            says = ast.unparse(part) if isinstance(part, ast.If | ast.Expr | ast.Assign) else ""
            if not _is_text(part) and not says.startswith(TALKS):
                yield from _reached(part)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _with(node: ast.AST, field: str, value: Any) -> str:
    before = getattr(node, field)
    setattr(node, field, value)
    text = ast.unparse(node)
    setattr(node, field, before)
    return text
