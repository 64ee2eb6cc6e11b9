"""Receptive fields as a network's first layer."""

import pytest
import torch

from synrl_ray.errors import UserError
from synrl_ray.experiment import AnnLearner, GridworldTasks, SinusoidTasks, SpikingLearner
from synrl_ray.meta.families import family_of
from synrl_ray.snn.encoders import PopulationCode

LEARNERS = [AnnLearner(hidden_sizes=(8,), population=5), SpikingLearner(hidden_sizes=(8,), population=5)]


@pytest.mark.parametrize("settings", [(1, 1, 5), (2, 1, 5), (0, 1, 1)])
def test_refuses_what_is_no_population(settings):
    with pytest.raises(ValueError, match="not a population"):
        PopulationCode(*settings)


@pytest.mark.parametrize("learner", LEARNERS, ids=["ann", "spiking"])
def test_a_sinusoid_learner_sees_its_input_through_it(learner):
    network = family_of(SinusoidTasks()).network(learner)
    assert network[0].num_neurons == network[1].in_features == 5
    assert network(torch.zeros(7, 1)).shape == (7, 1)


@pytest.mark.parametrize("learner", LEARNERS, ids=["ann", "spiking"])
def test_other_tasks_have_no_range(learner):
    with pytest.raises(UserError, match="sinusoids, not that of gridworld"):
        family_of(GridworldTasks()).network(learner)
