"""A shower to be kept at 38 ± 1 degrees, with PPO; its optimal return is known exactly."""

from synrl_ray.experiment import (
    PPO,
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
    id="shower-ppo",
    summary="ShowerEnv with PPO",
    environment=Environment(id="synrl_ray/Shower-v0", num_envs=8),
    spiking=SpikingPolicy(hidden_sizes=(64, 64), steps_per_observation=4, normalise_observations=True),
    ann=AnnPolicy(hidden_sizes=(64, 64), normalise_observations=True),
    algorithm=PPO(lr=2e-3, gamma=0.95, gae_lambda=0.9, train_batch_size=1920, minibatch_size=192, num_epochs=10),
    stopping=Stopping(env_steps=200_000),
    evaluation=Evaluation(episodes=100, interval_steps=20_000, interim_episodes=20),
    target=Target(mean_return=0.98 * 57.295, source="98 % of envs.shower.optimal_return()"),
    search_space={"algorithm.lr": LogUniform(3e-4, 5e-3), "spiking.input_gain": Uniform(1.0, 4.0)},
)
