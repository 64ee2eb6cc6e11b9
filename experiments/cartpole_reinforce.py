"""CartPole-v1 with REINFORCE: whole episodes, reward-to-go, a critic as baseline."""

from synrl_ray.experiment import (
    AnnPolicy,
    Environment,
    Evaluation,
    Experiment,
    LogUniform,
    Reinforce,
    SpikingPolicy,
    Stopping,
    Target,
)

experiment = Experiment(
    id="cartpole-reinforce",
    summary="CartPole-v1 with REINFORCE",
    environment=Environment(id="CartPole-v1", num_envs=8),
    spiking=SpikingPolicy(hidden_sizes=(64, 64), steps_per_observation=4),
    ann=AnnPolicy(hidden_sizes=(64, 64)),
    algorithm=Reinforce(lr=5e-3),
    stopping=Stopping(env_steps=500_000),
    evaluation=Evaluation(episodes=100, interval_steps=50_000, interim_episodes=20),
    target=Target(mean_return=475.0, source="Gymnasium's reward threshold of CartPole-v1"),
    search_space={"algorithm.lr": LogUniform(1e-3, 1e-2)},
)
