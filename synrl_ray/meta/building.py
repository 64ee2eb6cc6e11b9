"""From settings to tasks and networks."""

from __future__ import annotations

from torch import nn

from synrl_ray.data.omniglot import load_omniglot
from synrl_ray.meta.classification import FewShotClassification
from synrl_ray.meta.networks import SpikingConv4, SpikingRegressor, conv4, mlp
from synrl_ray.meta.settings import AnnLearner, Learner, OmniglotTasks, SinusoidTasks
from synrl_ray.meta.sinusoids import Sinusoids
from synrl_ray.meta.tasks import TaskDistribution


def make_tasks(settings: SinusoidTasks | OmniglotTasks) -> TaskDistribution:
    """The distribution of tasks.

    Raises:
        UserError: for missing data, or more classes or drawings than they have.
    """
    if isinstance(settings, SinusoidTasks):
        return Sinusoids(shots=settings.shots, query_shots=settings.queries)
    images = load_omniglot(settings.data).images
    return FewShotClassification(images, settings.ways, settings.shots, settings.queries, rotations=settings.rotations)


def make_learner(learner: Learner, tasks: SinusoidTasks | OmniglotTasks) -> nn.Module:
    """The network that adapts to each task; torch's seed makes its weights."""
    if isinstance(tasks, SinusoidTasks):
        if isinstance(learner, AnnLearner):
            return mlp(hidden_sizes=learner.hidden_sizes)
        return SpikingRegressor(
            hidden_sizes=learner.hidden_sizes, steps_per_sample=learner.steps_per_sample, beta=learner.beta
        )
    if isinstance(learner, AnnLearner):
        return conv4(ways=tasks.ways, channels=learner.channels)
    return SpikingConv4(
        ways=tasks.ways, channels=learner.channels, num_steps=learner.steps_per_sample, beta=learner.beta
    )


def data_of(settings: SinusoidTasks | OmniglotTasks) -> str:
    """What a result was measured on, by name."""
    if isinstance(settings, SinusoidTasks):
        return "sinusoids"
    return load_omniglot(settings.data).name
