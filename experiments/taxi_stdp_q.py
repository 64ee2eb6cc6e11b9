"""Taxi-v3 with a spiking Q-table: TD errors and STDP on the same weights. FrozenLake and CliffWalking by --set."""

from synrl_ray.experiment import Choice, Environment, Evaluation, LocalExperiment, LocalStopping, RegretTarget, StdpQ

experiment = LocalExperiment(
    id="taxi-stdp-q",
    summary="Taxi-v3 with a spiking Q-table",
    environment=Environment(id="Taxi-v3", num_envs=32),
    algorithm=StdpQ(initial_value=18.0, stdp_weight=0.1, tau_e=95.0, stdp_steps=40_000),
    steps_per_iteration=2_000,
    stopping=LocalStopping(env_steps=160_000),
    evaluation=Evaluation(interval_steps=2_000),
    target=RegretTarget(regret=0.05, source="this project's target; 7.930 is the exact optimum over all 300 starts"),
    search_space={
        "algorithm.initial_value": Choice((12.0, 14.0, 16.0, 18.0, 20.0)),
        "algorithm.stdp_weight": Choice((0.0, 0.05, 0.1, 0.2)),
        "algorithm.tau_e": Choice((45.0, 95.0, 195.0)),
    },
)
