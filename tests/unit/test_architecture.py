"""The rules of docs/architecture.md, beside those that lint-imports checks by itself."""

import re
import tomllib
from itertools import chain
from pathlib import Path

import networkx
import pytest
from grimp import build_graph

ROOT = Path(__file__).parents[2]


def test_the_table_has_the_layers_of_the_contract_in_their_order():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = (contract for contract in contracts if contract.get("exhaustive"))
    layers = [re.split(r" [|:] ", layer) for layer in contract["layers"]]
    table = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "architecture.md").read_text(), re.MULTILINE)
    assert table == list(chain.from_iterable(layers))


@pytest.mark.parametrize("package", ["kinds", "algorithms", "policies/local"])
def test_every_folder_of_what_must_not_know_its_like_is_in_a_contract(package):
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    named = set(
        re.findall(r"synrl_ray[\w.]+", str([contract for contract in contracts if "exhaustive" not in contract]))
    )
    folders = [file.parent.name for file in (ROOT / "synrl_ray" / package).glob("*/__init__.py")]
    assert folders
    assert {f"synrl_ray.{package.replace('/', '.')}.{folder}" for folder in folders} <= named


def test_no_modules_import_one_another_in_a_circle():
    graph = build_graph("synrl_ray", cache_dir=None)
    imports = networkx.DiGraph(
        (module, found) for module in graph.modules for found in graph.find_modules_directly_imported_by(module)
    )
    assert [sorted(circle) for circle in networkx.strongly_connected_components(imports) if len(circle) > 1] == []
