"""A maze learned by reward-modulated STDP: place cells, competing action neurons, a critic's TD error."""

from synrl_ray.experiment import (
    Choice,
    Environment,
    Evaluation,
    LocalExperiment,
    LocalStopping,
    LogUniform,
    PathTarget,
    RStdp,
)

experiment = LocalExperiment(
    id="maze-rstdp",
    summary="A maze with reward-modulated STDP, with or without a teacher",
    environment=Environment(
        id="synrl_ray/Maze-v0",
        kwargs={"size": 8, "maze_seed": 0, "braid": 0.2, "sigma": 0.5, "step_cost": 0.0, "bump_cost": 0.0},
        num_envs=16,
    ),
    algorithm=RStdp(),
    steps_per_iteration=2_000,
    stopping=LocalStopping(env_steps=120_000),
    evaluation=Evaluation(interval_steps=4_000),
    target=PathTarget(success_rate=0.95, path_ratio=1.1, source="this project's target"),
    search_space={
        "algorithm.noise_start": Choice((0.2, 0.3, 0.4)),
        "algorithm.critic_lr": Choice((0.2, 0.5)),
        "algorithm.rule.lr": LogUniform(0.02, 0.2),
    },
)
