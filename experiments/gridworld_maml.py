"""Finding hidden goals in gridworlds that differ in size, obstacles, start and goal, with MAML of policies."""

from synrl_ray.experiment import (
    AnnLearner,
    GridworldTasks,
    LogUniform,
    MamlRl,
    MetaEvaluation,
    MetaExperiment,
    MetaRlTraining,
    MetaStopping,
    MetaTarget,
    SpikingLearner,
)

experiment = MetaExperiment(
    id="gridworld-maml",
    summary="Policies that find a hidden goal within three gradient steps, with MAML",
    tasks=GridworldTasks(vary="layout", rows=7, columns=7, num_obstacles=10),
    spiking=SpikingLearner(hidden_sizes=(64,), steps_per_sample=4),
    ann=AnnLearner(hidden_sizes=(64,)),
    algorithm=MetaRlTraining(maml=MamlRl(inner_lr=3.0, inner_steps=3, episodes=80), meta_batch=20),
    stopping=MetaStopping(meta_iterations=1_500),
    evaluation=MetaEvaluation(tasks=200, inner_steps=3, interval=250),
    target=MetaTarget(regret=0.05, source="this project's target: 5 % of the optimal return after 3 inner steps"),
    search_space={"algorithm.meta_lr": LogUniform(1e-3, 1e-2), "algorithm.maml.inner_lr": LogUniform(1.0, 10.0)},
)
