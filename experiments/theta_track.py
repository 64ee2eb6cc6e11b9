"""In which direction a run goes, told by the order of place cells in a theta cycle: reward-modulated STDP."""

from synrl_ray.experiment import (
    Choice,
    Environment,
    Evaluation,
    LocalExperiment,
    LocalStopping,
    LogUniform,
    PairSTDP,
    ReturnTarget,
    RewardModulatedSTDP,
    RewardPrediction,
    RStdp,
    WeightBounds,
)

experiment = LocalExperiment(
    id="theta-track",
    summary="The direction of a run along a track, by theta phase precession and reward-modulated STDP",
    environment=Environment(id="synrl_ray/ThetaTrack-v0", num_envs=16),
    algorithm=RStdp(
        steps_per_observation=80,
        encoding="spikes",
        tau_mem=20.0,
        # Within the bounds no place cells fire a neuron before the go signal, which always does.
        threshold=21.0,
        bounds=WeightBounds(w_min=0.55, w_max=1.0),
        initial_weight=0.8,
        initial_spread=0.0,
        forgetting_steps=None,
        rule=RewardModulatedSTDP(stdp=PairSTDP(a_plus=1.0, a_minus=0.0), tau_e=1_000.0, lr=0.02),
        eligibility=False,  # each trial has its own reward
        modulator="reward_prediction",
        prediction=RewardPrediction(rate=0.2),
        noise_start=0.8,
        noise_end=0.1,
        noise_steps=2_000,
    ),
    steps_per_iteration=256,
    stopping=LocalStopping(env_steps=4_096),
    evaluation=Evaluation(interval_steps=512),
    target=ReturnTarget(mean_return=0.95, source="95 % of the optimum, 1; chance is 0.5; both are exact"),
    search_space={
        "algorithm.noise_start": Choice((0.4, 0.8, 1.6)),
        "algorithm.rule.lr": LogUniform(0.005, 0.1),
    },
)
