"""A specialist against an adaptable agent: Q-learning and meta-learned policies on the same new gridworlds."""

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
    QComparison,
    SpikingLearner,
)

experiment = MetaExperiment(
    id="gridworld-q-vs-maml",
    summary="Q-learning, from nothing and from a pooled start, against MAML on the same new gridworlds",
    tasks=GridworldTasks(vary="layout", rows=7, columns=7, num_obstacles=10, reward="sparse"),
    spiking=SpikingLearner(hidden_sizes=(64,), steps_per_sample=4),
    ann=AnnLearner(hidden_sizes=(64,)),
    algorithm=MetaRlTraining(maml=MamlRl(inner_lr=3.0, inner_steps=3, episodes=10), meta_batch=20),
    stopping=MetaStopping(meta_iterations=1_500),
    evaluation=MetaEvaluation(tasks=200, inner_steps=3, interval=250),
    comparison=QComparison(env_steps=2_000, interval_steps=20),
    target=MetaTarget(regret=0.15, source="this project's mark: after 3 inner steps of 10 episodes, sparse reward"),
    search_space={"algorithm.meta_lr": LogUniform(1e-3, 1e-2), "algorithm.maml.inner_lr": LogUniform(1.0, 10.0)},
)
