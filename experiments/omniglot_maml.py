"""Few-shot classification of Omniglot's characters with MAML. Ways and shots by --set."""

from synrl_ray.experiment import (
    AnnLearner,
    LogUniform,
    Maml,
    MetaEvaluation,
    MetaExperiment,
    MetaStopping,
    MetaTarget,
    MetaTraining,
    OmniglotTasks,
    SpikingLearner,
)

experiment = MetaExperiment(
    id="omniglot-maml",
    summary="Omniglot few-shot classification with MAML",
    tasks=OmniglotTasks(ways=5, shots=1, queries=5),
    spiking=SpikingLearner(channels=32, steps_per_sample=2, beta=0.5, surrogate_slope=0.5),
    ann=AnnLearner(channels=32),
    algorithm=MetaTraining(maml=Maml(inner_lr=0.4, chunk_size=4), meta_batch=16),
    stopping=MetaStopping(meta_iterations=5_000),
    evaluation=MetaEvaluation(tasks=600, inner_steps=3, interval=250),
    target=MetaTarget(accuracy=0.97, source="this project's target for 5 ways and 1 shot on the small sets"),
    search_space={"algorithm.meta_lr": LogUniform(3e-4, 3e-3), "algorithm.maml.inner_lr": LogUniform(0.05, 0.5)},
)
