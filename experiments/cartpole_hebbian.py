"""CartPole whose motor may be wired the other way round from some step on: Hebbian rules, by evolution strategies."""

from synrl_ray.experiment import (
    AnnHebbian,
    Budget,
    Choice,
    Environment,
    Evaluation,
    EvolutionExperiment,
    LogUniform,
    OpenAiEs,
    ReturnTarget,
    SpikingHebbian,
)

experiment = EvolutionExperiment(
    id="cartpole-hebbian",
    summary="CartPole whose body changes, by evolved Hebbian rules",
    environment=Environment(
        id="synrl_ray/ChangingCartPole-v0",
        kwargs={
            "first": ["intact", "inverted"],
            "then": ["intact", "inverted"],
            "earliest": 80,
            "latest": 200,
            "max_episode_steps": 400,
        },
        num_envs=64,
    ),
    ann=AnnHebbian(hidden_sizes=(16,)),
    spiking=SpikingHebbian(hidden_sizes=(16,)),
    algorithm=OpenAiEs(num_pairs=32, num_episodes=4, sigma=0.2, lr=0.1),
    stopping=Budget(env_steps=30_000_000),
    evaluation=Evaluation(interval_steps=1_000_000, interim_episodes=40),
    held_out={"then": ["weak", "weak inverted", "long inverted", "short inverted"]},
    target=ReturnTarget(mean_return=380.0, source="95 % of the most that is possible, 400"),
    search_space={"algorithm.lr": LogUniform(0.02, 0.3), "algorithm.sigma": Choice((0.05, 0.1, 0.2))},
)
