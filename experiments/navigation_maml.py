"""The 2D navigation of the MAML paper: a point learns from a few episodes' rewards where its goal is."""

from synrl_ray.experiment import (
    AnnLearner,
    EnvironmentTasks,
    LogUniform,
    MamlRl,
    MetaEvaluation,
    MetaExperiment,
    MetaRlTraining,
    MetaStopping,
    MetaTarget,
    SpikingLearner,
    Uniform,
)

experiment = MetaExperiment(
    id="navigation-maml",
    summary="Policies that find a goal in the plane within a few gradient steps, with MAML",
    tasks=EnvironmentTasks(
        id="synrl_ray/Navigation-v0",
        parameters={"goal_x": Uniform(-0.5, 0.5), "goal_y": Uniform(-0.5, 0.5)},
        horizon=100,
        observation_scale=(0.5,),
    ),
    spiking=SpikingLearner(hidden_sizes=(32,), steps_per_sample=4),
    ann=AnnLearner(hidden_sizes=(32,)),
    algorithm=MetaRlTraining(
        maml=MamlRl(inner_lr=0.1, inner_steps=2, episodes=10, outer="ppo", exploration=0.0, entropy=0.0),
        meta_lr=3e-3,
        meta_batch=10,
    ),
    stopping=MetaStopping(meta_iterations=60),
    evaluation=MetaEvaluation(tasks=100, inner_steps=3, interval=20, interim_tasks=20),
    target=MetaTarget(mean_return=-2.0, source="this project's mark: an eighth of what staying in place costs, -16.6"),
    search_space={"algorithm.meta_lr": LogUniform(3e-4, 1e-2), "algorithm.maml.inner_lr": LogUniform(0.03, 1.0)},
)
