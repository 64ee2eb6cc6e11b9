import json

import pytest
import torch

from synrl_ray.errors import UserError
from synrl_ray.experiment import (
    AnnLearner,
    GridworldTasks,
    Maml,
    MamlRl,
    OmniglotTasks,
    SinusoidTasks,
    SpikingLearner,
)
from synrl_ray.meta.families import family_of
from synrl_ray.meta.files import load_maml, save_maml

CASES = [
    (SinusoidTasks(shots=5), AnnLearner(hidden_sizes=(8,)), Maml(learn_inner_lr="layer")),
    (SinusoidTasks(), SpikingLearner(hidden_sizes=(8,), steps_per_sample=2), Maml()),
    (OmniglotTasks(ways=3), AnnLearner(channels=4), Maml(inner_lr=0.4)),
    (OmniglotTasks(ways=3), SpikingLearner(channels=4, steps_per_sample=2), Maml(inner_lr=0.4, anil=True)),
    (GridworldTasks(rows=4, start=(1, 2)), AnnLearner(hidden_sizes=(8,)), MamlRl(inner_steps=2)),
    (GridworldTasks(start=None), SpikingLearner(hidden_sizes=(8,), steps_per_sample=2), MamlRl(outer="ppo")),
]


@pytest.mark.parametrize(("tasks", "learner", "maml"), CASES)
def test_a_learner_survives_its_files(tmp_path, tasks, learner, maml):
    made = family_of(tasks).meta_learner(learner, maml)
    save_maml(made, learner, tasks, tmp_path, experiment="x")
    loaded, loaded_learner, loaded_tasks = load_maml(tmp_path)
    assert (loaded_learner, loaded_tasks, loaded.config) == (learner, tasks, maml)
    for name, tensor in made.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize(
    "damage", ["", "[]", "{}", '{"format": "meta-9"}', '{"format": "meta-1", "tasks": {"name": "chess"}}']
)
def test_a_damaged_description_is_one_line(tmp_path, damage):
    tasks, learner, maml = CASES[0]
    save_maml(family_of(tasks).meta_learner(learner, maml), learner, tasks, tmp_path)
    (tmp_path / "policy.json").write_text(damage)
    with pytest.raises(UserError, match="is damaged") as refusal:
        load_maml(tmp_path)
    assert len(str(refusal.value).splitlines()) == 1


def test_weights_of_another_network_are_damage(tmp_path):
    tasks, learner, maml = CASES[0]
    save_maml(family_of(tasks).meta_learner(learner, maml), learner, tasks, tmp_path)
    description = json.loads((tmp_path / "policy.json").read_text())
    description["learner"]["hidden_sizes"] = [9]
    (tmp_path / "policy.json").write_text(json.dumps(description))
    with pytest.raises(UserError, match="is damaged"):
        load_maml(tmp_path)
