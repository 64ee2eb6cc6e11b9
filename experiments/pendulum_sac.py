"""Pendulum-v1 with SAC: a spiking actor that sees its observations through populations of neurons.

As in PopSAN (Tang et al. 2020, arXiv:2010.09635) receptive fields code each number of an observation, and the critics
do not spike; unlike there, an action's mean is read from membranes, and its deviation is an output of the same network.
"""

from synrl_ray.experiment import (
    SAC,
    AnnPolicy,
    Environment,
    Evaluation,
    Experiment,
    LogUniform,
    SpikingPolicy,
    Stopping,
    Target,
    Uniform,
)

experiment = Experiment(
    id="pendulum-sac",
    summary="Pendulum-v1 with SAC and population coding",
    environment=Environment(id="Pendulum-v1", reward_scale=0.1, num_envs=8),
    spiking=SpikingPolicy(
        hidden_sizes=(64, 64),
        steps_per_observation=5,
        encoder="population",
        encoder_low=-8.0,  # the speed's range; sine and cosine of the angle, within [-1, 1], meet five of the fields
        encoder_high=8.0,
        encoder_neurons=33,
        action_distribution="squashed_gaussian",
        state_dependent_std=True,
    ),
    ann=AnnPolicy(hidden_sizes=(64, 64), action_distribution="squashed_gaussian", state_dependent_std=True),
    algorithm=SAC(lr=1e-3, train_batch_size=128, num_updates=4, tau=0.01, critic_sizes=(64, 64)),
    stopping=Stopping(env_steps=12_000),
    evaluation=Evaluation(episodes=250, interval_steps=2_500, interim_episodes=20),
    target=Target(
        mean_return=-157.0,
        source="RL Baselines3 Zoo, benchmark.md: SAC, 20,000 steps, one run, 750 greedy episodes (-156.995 ± 88.714)",
    ),
    search_space={
        "algorithm.lr": LogUniform(3e-4, 3e-3),
        "algorithm.tau": LogUniform(2e-3, 2e-2),
        "spiking.beta": Uniform(0.5, 0.99),
    },
)
