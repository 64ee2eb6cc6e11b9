"""What an algorithm does before its first update where a firing rate is wanted, and with currents after each one."""

import copy
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from synrl_ray.algorithms.activity import Activity
from synrl_ray.algorithms.build import algorithm_config
from synrl_ray.algorithms.on_policy.algorithm import OnPolicyAlgorithm
from synrl_ray.algorithms.on_policy.train_batch import train_batch
from synrl_ray.experiment import PPO, AnnPolicy, Environment, Experiment, SpikingPolicy, Stopping
from synrl_ray.sampling.batched import BatchedEnvRunner
from synrl_ray.sampling.rollout import sample_rows

POLICIES = {
    "from rest": SpikingPolicy(hidden_sizes=(64, 64), firing_rate=0.15),
    "carried, normalised": SpikingPolicy(
        hidden_sizes=(64, 64), firing_rate=0.15, carry_state=True, max_seq_len=16, normalise_observations=True,
        norm="running", recurrent="all_to_all",
    ),
}  # fmt: skip


def _itself(value):
    return value


def made(policy):
    """An algorithm of one runner and two learners, all in this process, and their networks: the runner's first."""
    experiment = Experiment(
        id="calibrated", summary="", environment=Environment(id="CartPole-v1", num_envs=4),
        spiking=policy, ann=AnnPolicy(), algorithm=PPO(train_batch_size=256), stopping=Stopping(env_steps=5000),
    )  # fmt: skip
    config = algorithm_config(experiment, "spiking", seed=3, num_workers=0)
    runner = BatchedEnvRunner(config=config)
    modules = [runner.module, *(copy.deepcopy(runner.module) for _ in range(2))]
    learners = [
        SimpleNamespace(module={"default_policy": SimpleNamespace(unwrapped=partial(_itself, module))})
        for module in modules[1:]
    ]

    def foreach_learner(call):
        results = [call(learner) for learner in learners]
        return [SimpleNamespace(get=partial(_itself, result)) for result in results]

    algorithm = SimpleNamespace(
        config=config,
        activity=Activity(),
        steps=0,
        get_module=lambda: runner.module,
        learner_group=SimpleNamespace(foreach_learner=foreach_learner),
        env_runner_group=SimpleNamespace(
            local_env_runner=None, sync_weights=lambda **_: runner.module.load_state_dict(modules[1].state_dict())
        ),
    )

    def sample():
        rollout = runner.sample()
        algorithm.steps += rollout.num_steps
        return [rollout]

    algorithm._sample, algorithm._steps = sample, lambda: algorithm.steps
    for name in ("_calibrate", "_measure", "_learn_from"):
        setattr(algorithm, name, partial(getattr(OnPolicyAlgorithm, name), algorithm))
    return algorithm, [module.network for module in modules]


def states(networks):
    return [{name: value.clone() for name, value in network.state_dict().items()} for network in networks]


@pytest.mark.parametrize("name", POLICIES)
def test_a_first_fragment_scales_the_weights_alike_and_once(name):
    algorithm, networks = made(POLICIES[name])
    before, *_ = states(networks)
    algorithm._calibrate()
    after, *others = states(networks)
    for other in others:
        for key, value in after.items():
            assert torch.equal(other[key], value), key
    changed = {key for key, value in after.items() if not torch.equal(value, before[key])}
    scaled = "norms" if POLICIES[name].norm == "running" else "linears"
    assert {f"bodies.{b}.{scaled}.{layer}.weight" for b in (0, 1) for layer in (0, 1)} <= changed
    assert not any("readout" in key or "synapses" in key for key in changed)
    assert algorithm.steps > 200, "they count"
    (rollout,) = algorithm._sample()
    algorithm.activity.note(networks[0], partial(sample_rows, [rollout]))
    columns, (told,) = algorithm.activity.take()
    assert list(columns.values()) == pytest.approx([0.15, 0.15], abs=0.08)
    assert told.startswith("initial weights scaled for a firing rate of 15.0 % of each layer: by actor ")
    assert "; critic " in told
    algorithm._calibrate()
    assert torch.equal(states(networks)[0]["bodies.0.linears.0.weight"], after["bodies.0.linears.0.weight"])


def test_another_run_of_the_seed_has_the_same_weights():
    results = []
    for _ in range(2):
        torch.manual_seed(0)
        algorithm, networks = made(POLICIES["carried, normalised"])
        algorithm._calibrate()
        results.append(states(networks)[0])
    for key, value in results[0].items():
        assert torch.equal(results[1][key], value), key


def test_currents_are_measured_after_they_were_learned_from_and_the_rollout_is_replayed():
    algorithm, networks = made(POLICIES["carried, normalised"])
    algorithm._calibrate()
    for count in (1, 2):
        rollouts = algorithm._sample()
        batch = train_batch(rollouts, gamma=0.99, gae_lambda=0.9, standardise=False)
        module = algorithm.get_module()
        with torch.no_grad():
            outputs = module.forward_train(batch)
        mask = batch["loss_mask"]
        name = "action_dist_inputs"
        torch.testing.assert_close(outputs[name][mask], batch[name][mask], rtol=1e-6, atol=1e-5)
        assert int(networks[1].bodies[0].norms[0].count) == count
        algorithm._measure(rollouts)
        assert [int(network.bodies[1].norms[1].count) for network in networks] == [count, count + 1, count + 1]
        algorithm.env_runner_group.sync_weights()
    assert float(networks[0].normaliser.count) == algorithm.steps


def test_without_a_rate_nothing_is_sampled():
    algorithm, _ = made(SpikingPolicy(hidden_sizes=(8,)))
    algorithm._calibrate()
    assert algorithm.steps == 0
    algorithm._measure([])
    assert algorithm.activity.take() == ({}, ())


def test_an_iteration_scales_plays_measures_and_learns_in_this_order():
    """What is learned from was played by the scaled weights; the rates of the row are of the same."""
    algorithm, networks = made(POLICIES["carried, normalised"])
    learned = []

    def learn(batch):
        with torch.no_grad():
            outputs = algorithm.get_module().forward_train(batch)
        name, mask = "action_dist_inputs", batch["loss_mask"]
        torch.testing.assert_close(outputs[name][mask], batch[name][mask], rtol=1e-6, atol=1e-5)
        learned.append([int(network.bodies[0].norms[0].count) for network in networks])
        return []

    nothing = lambda *_, **__: None  # noqa: E731
    algorithm._learn = learn
    algorithm.metrics = SimpleNamespace(log_time=lambda *_: nullcontext(), aggregate=nothing, log_value=nothing)
    for _ in range(2):
        OnPolicyAlgorithm.training_step(algorithm)
    assert learned == [[1, 1, 1], [2, 2, 2]], "measured when weights are scaled, then after what was learned"
    assert [int(network.bodies[0].norms[0].count) for network in networks] == [3, 3, 3]
    assert 680 < algorithm.steps <= 768, "three fragments less the resets"
    columns, notices = algorithm.activity.take()
    assert list(columns) == ["firing_rate_0", "firing_rate_1"]
    assert len(notices) == 1
