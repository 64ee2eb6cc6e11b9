"""Atari Breakout with PQN: the networks of `breakout-a2c`, with normalised layers in place of scaled weights."""

from synrl_ray.experiment import (
    PQN,
    AnnPolicy,
    AtariFrames,
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
    id="breakout-pqn",
    summary="Atari Breakout with PQN",
    environment=Environment(id="ale_py:ALE/Breakout-v5", preprocessing=AtariFrames(), num_envs=32),
    spiking=SpikingPolicy(
        conv_layers="small",
        hidden_sizes=(256,),
        share_layers=True,
        steps_per_observation=1,
        carry_state=True,
        normalise_observations=True,
        norm="layer",
        beta=0.1,
        learn_beta=True,
        learn_threshold=True,
        readout_beta=0.0,
        reset="none",
        surrogate="atan",
    ),
    ann=AnnPolicy(
        conv_layers="small",
        hidden_sizes=(256,),
        share_layers=True,
        frame_stack=4,
        normalise_observations=True,
        norm="layer",
    ),
    algorithm=PQN(  # those of the paper's games, but for their 128 environments
        lr=2.5e-4, q_lambda=0.65, num_steps=32, num_epochs=2, epsilon_end=0.001, epsilon_steps=1_000_000
    ),
    stopping=Stopping(env_steps=10_000_000),
    evaluation=Evaluation(episodes=30, interval_steps=250_000, interim_episodes=5),
    target=Target(mean_return=100.0, source="first mark, that of breakout-a2c"),
    search_space={"algorithm.lr": LogUniform(1e-4, 1e-3), "algorithm.q_lambda": Uniform(0.5, 0.95)},
)
