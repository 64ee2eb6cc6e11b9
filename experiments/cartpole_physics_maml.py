"""CartPole whose masses, length and force are others in each task: policies that adapt within a few episodes."""

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
    id="cartpole-physics-maml",
    summary="Balancing poles of unknown mass and length by an unknown force after a few episodes, with MAML",
    tasks=EnvironmentTasks(
        id="synrl_ray/CartPolePhysics-v0",
        parameters={
            "pole_mass": LogUniform(0.05, 1.0),
            "pole_length": LogUniform(0.25, 2.0),
            "force": Uniform(-20.0, 20.0),
        },
        horizon=200,
        observation_scale=(1.0, 1.0, 0.1, 1.0),
    ),
    spiking=SpikingLearner(hidden_sizes=(32,), steps_per_sample=4),
    ann=AnnLearner(hidden_sizes=(32,)),
    algorithm=MetaRlTraining(
        maml=MamlRl(inner_lr=0.5, inner_steps=2, episodes=10, outer="ppo", exploration=0.0, entropy=0.0),
        meta_lr=3e-3,
        meta_batch=10,
    ),
    stopping=MetaStopping(meta_iterations=60),
    evaluation=MetaEvaluation(tasks=100, inner_steps=3, interval=20, interim_tasks=20),
    target=MetaTarget(mean_return=180.0, source="this project's mark: nine tenths of the horizon"),
    search_space={"algorithm.meta_lr": LogUniform(3e-4, 1e-2), "algorithm.maml.inner_lr": LogUniform(0.03, 1.0)},
)
