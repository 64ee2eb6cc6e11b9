"""Taxi-v3 with tabular Q-learning, judged exactly: regret from the best policy's return over all 300 first states.

`--set env=CliffWalking-v1` works as it is. The frozen lakes are slippery: they need a smaller step size in the end
(`--set env=FrozenLake-v1 lr=0.5 lr_end=0.001 lr_steps=4000000 epsilon_end=0.3 env_steps=5000000`).
"""

from synrl_ray.experiment import (
    Environment,
    Evaluation,
    LocalExperiment,
    LocalStopping,
    LogUniform,
    QLearning,
    RegretTarget,
    Uniform,
)

experiment = LocalExperiment(
    id="taxi-q-learning",
    summary="Taxi-v3 with tabular Q-learning",
    environment=Environment(id="Taxi-v3", num_envs=16),
    algorithm=QLearning(lr=1.0, gamma=0.99, initial_value=20.0, epsilon_end=0.1, epsilon_steps=100_000),
    steps_per_iteration=50_000,
    stopping=LocalStopping(env_steps=1_000_000),
    evaluation=Evaluation(interval_steps=50_000),
    target=RegretTarget(regret=0.0, source="the optimum by dynamic programming: 7.930 over 300 first states"),
    search_space={"algorithm.lr": LogUniform(0.1, 1.0), "algorithm.epsilon_end": Uniform(0.01, 0.5)},
)
