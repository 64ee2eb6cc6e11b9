"""Atari Breakout with PPO: the networks of `breakout-a2c`."""

from synrl_ray.experiment import (
    PPO,
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
    id="breakout-ppo",
    summary="Atari Breakout with PPO",
    environment=Environment(id="ale_py:ALE/Breakout-v5", preprocessing=AtariFrames(), num_envs=8),
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
    algorithm=PPO(
        lr=5e-4,
        train_batch_size=1024,
        minibatch_size=256,
        num_epochs=4,
        clip_param=0.1,
        entropy_coeff=0.01,
        gae_lambda=0.95,
    ),
    stopping=Stopping(env_steps=10_000_000),
    evaluation=Evaluation(episodes=30, interval_steps=250_000, interim_episodes=5),
    target=Target(mean_return=100.0, source="first mark, that of breakout-a2c"),
    search_space={"algorithm.lr": LogUniform(1e-4, 1e-3), "spiking.beta": Uniform(0.0, 0.9)},
)
