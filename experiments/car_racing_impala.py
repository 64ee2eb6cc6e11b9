"""CarRacing with an asynchronous PPO: networks and settings of `car-racing-ppo`, sampling and learning side by side."""

from synrl_ray.experiment import (
    IMPALA,
    AnnPolicy,
    CarRacingFrames,
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
    id="car-racing-impala",
    summary="CarRacing with an asynchronous PPO",
    environment=Environment(
        id="CarRacing-v3", preprocessing=CarRacingFrames(action_repeat=8), normalise_rewards=True, num_envs=8
    ),
    spiking=SpikingPolicy(
        conv_layers="small",
        hidden_sizes=(256,),
        share_layers=True,
        steps_per_observation=1,
        carry_state=True,
        beta=0.5,
        learn_beta=True,
        learn_threshold=True,
        readout_beta=0.0,
        surrogate="atan",
        input_gain=8.0,
        hidden_gain=8.0,
    ),
    ann=AnnPolicy(conv_layers="small", hidden_sizes=(256,), share_layers=True, frame_stack=4),
    algorithm=IMPALA(
        lr=5e-4,
        num_steps=256,
        minibatch_size=256,
        num_epochs=6,
        clip_param=0.2,
        gae_lambda=0.95,
        entropy_coeff=0.003,
        optimizer="adam",
    ),
    stopping=Stopping(env_steps=1_500_000),
    evaluation=Evaluation(episodes=30, interval_steps=50_000, interim_episodes=5, parallel_to_training=True),
    target=Target(mean_return=700.0, source="first mark; the environment counts as solved at 900"),
    search_space={"algorithm.lr": LogUniform(1e-4, 1e-3), "spiking.beta": Uniform(0.3, 0.9)},
)
