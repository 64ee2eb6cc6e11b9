"""MNIST with a spiking network: two digits, or all ten (`--set digits=all epochs=20`)."""

from synrl_ray.experiment import (
    AccuracyTarget,
    AnnClassifier,
    Choice,
    ClassificationExperiment,
    Epochs,
    LogUniform,
    Mnist,
    SpikingClassifier,
    Supervised,
    Uniform,
)

experiment = ClassificationExperiment(
    id="mnist-binary",
    summary="MNIST, two digits or all, with an SNN",
    data=Mnist(digits=(0, 1)),
    spiking=SpikingClassifier(hidden_sizes=(256,), steps_per_observation=8),
    ann=AnnClassifier(hidden_sizes=(256,)),
    algorithm=Supervised(lr=2e-3, batch_size=128),
    stopping=Epochs(epochs=5),
    target=AccuracyTarget(accuracy=0.999, source="zeros against ones; 0.98 for all ten digits"),
    search_space={
        "algorithm.lr": LogUniform(3e-4, 1e-2),
        "spiking.beta": Uniform(0.5, 0.99),
        "spiking.surrogate": Choice(("fast_sigmoid", "atan")),
    },
)
