"""What can be set in an experiment: each setting's name and value, what else it may be, and what it is for."""

from __future__ import annotations

import ast
import inspect
import re
import shutil
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from synrl_ray.experiment import AnyExperiment
from synrl_ray.overrides import shown_settings
from synrl_ray.settings.paths import setting_at, setting_paths, setting_type

_TYPES = {"number": "number", "integer": "whole number", "string": "text", "object": "dictionary", "null": "null"}
_ROLE = re.compile(r":\w+:`~?([^`]+)`")
"""A reference of Sphinx's, which a terminal cannot follow."""
_BOUNDS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}


class SettingDoc(NamedTuple):
    """One setting of an experiment."""

    path: str
    """Such as ``algorithm.lr``."""
    part: str
    """Class of the settings that it is one of, such as ``PPO``."""
    assignment: str
    """The key and the value that it has, as ``--set`` takes them."""
    allowed: str
    """What it may be, in words."""
    doc: str
    """What it is for; empty where its name says it."""


def setting_docs(experiment: AnyExperiment) -> list[SettingDoc]:
    """Every setting of an experiment that can be changed, in the order of its parts."""
    found, paths = [], setting_paths(experiment)
    for path, assignment in zip(paths, shown_settings(experiment, paths), strict=True):
        place, _, name = path.rpartition(".")
        part: type = type(setting_at(experiment, place))
        allowed = _words(TypeAdapter(setting_type(experiment, path)).json_schema())
        found.append(SettingDoc(path, part.__name__, assignment, allowed, _docs_of(part).get(name, "")))
    return found


@cache
def _docs_of(settings: type) -> dict[str, str]:
    """The texts under the fields of a class and of those that it is made from."""
    bases = (base for base in reversed(settings.__mro__) if is_dataclass(base))
    return {name: doc for base in bases for name, doc in _docs_in(inspect.getsource(base))}


def _docs_in(source: str) -> Iterator[tuple[str, str]]:
    (made,) = ast.parse(textwrap.dedent(source)).body
    assert isinstance(made, ast.ClassDef)
    for item, after in pairwise(made.body):
        match item, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, " ".join(_ROLE.sub(r"\1", text).replace("``", "").split())


def _words(schema: Mapping[str, Any]) -> str:
    """A JSON schema as a reader of the terminal would say it."""
    if parts := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(map(_words, parts)))
    if "enum" in schema or "const" in schema:
        return " or ".join(str(value) for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "boolean":
        return "true or false"
    if schema.get("type") == "array":
        return f"list of {_words(schema.get('items') or (schema.get('prefixItems') or [{}])[0])}"
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    bounds = (f"{sign} {schema[name]:,}" for name, sign in _BOUNDS.items() if name in schema)
    return ", ".join((_TYPES.get(schema.get("type", ""), "anything"), *bounds))


def print_settings(experiment: AnyExperiment) -> None:
    """The experiment in a few lines, and two or more for each setting."""
    width = shutil.get_terminal_size().columns
    print(f"{experiment.id}: {experiment.summary} ({experiment.stopping.amount})")
    print(f"Policies      {', '.join(experiment.policies)}")
    if experiment.search_space:
        print(f"Searched      {', '.join(experiment.search_space)}, by `synrl tune`")
    place = None
    for each in setting_docs(experiment):
        if place != (place := each.path.rpartition(".")[0]):
            print(f"\n{place or 'experiment'} ({each.part})")
        print(f"  {each.assignment:<34} {each.allowed}")
        if each.doc:
            print(textwrap.fill(each.doc, width, initial_indent=" " * 6, subsequent_indent=" " * 6))
