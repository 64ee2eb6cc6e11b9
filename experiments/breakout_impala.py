"""Atari Breakout with IMPALA: the networks and settings of `breakout-a2c`, sampling and learning side by side."""

from synrl_ray.experiment import (
    IMPALA,
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
    id="breakout-impala",
    summary="Atari Breakout with IMPALA",
    environment=Environment(id="ale_py:ALE/Breakout-v5", preprocessing=AtariFrames(), num_envs=16),
    spiking=SpikingPolicy(
        conv_layers="small",
        hidden_sizes=(256,),
        share_layers=True,
        steps_per_observation=1,
        carry_state=True,
        normalise_observations=True,
        beta=0.1,
        learn_beta=True,
        learn_threshold=True,
        readout_beta=0.0,
        reset="none",
        surrogate="atan",
        input_gain=2.0,
        hidden_gain=4.0,
    ),
    ann=AnnPolicy(
        conv_layers="small", hidden_sizes=(256,), share_layers=True, frame_stack=4, normalise_observations=True
    ),
    algorithm=IMPALA(lr=7e-4, num_steps=8, entropy_coeff=0.01, vf_loss_coeff=0.25, rmsprop_eps=1e-7),
    stopping=Stopping(env_steps=10_000_000),
    evaluation=Evaluation(episodes=30, interval_steps=250_000, interim_episodes=5, parallel_to_training=True),
    target=Target(
        mean_return=100.0, source="first mark; the RL Baselines3 Zoo's A2C has 279.8 +- 122.2 after 10 M steps"
    ),
    search_space={"algorithm.lr": LogUniform(2e-4, 2e-3), "spiking.beta": Uniform(0.0, 0.9)},
)
