"""No two classes of the package are told apart by case, by a plural, or by a suffix that says nothing."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import synrl_ray

PACKAGE = Path(synrl_ray.__file__).parent
A_THING_AND_SEVERAL_OF_IT = {"checkpoint", "shard", "transition"}


def stem(name):
    """What is left without case, plural and suffix. ``PPOConfig`` is RLlib's name for what builds ``PPO``."""
    if "algorithms" in name[1].parts and name[0].endswith("Config"):
        return name[0]
    return re.sub(r"(settings|tasksettings|config|s)$", "", name[0].lower())


def test_no_two_public_classes_have_nearly_the_same_name():
    classes = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                classes[stem((node.name, path.relative_to(PACKAGE)))].add((node.name, str(path.relative_to(PACKAGE))))
    alike = {name: found for name, found in classes.items() if len(found) > 1 and name not in A_THING_AND_SEVERAL_OF_IT}
    assert alike == {}
