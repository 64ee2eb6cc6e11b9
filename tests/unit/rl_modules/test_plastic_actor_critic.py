"""Plastic layers of an actor: what they learn from a step, worked by hand; homeostasis; what is refused.

The actor has inputs x, y, two neurons (threshold 1, decay 0.9) and two outputs; neuron a receives x, b 0.6y. At (1, 1)
both fire in the second of two simulation steps: a after 1 and 1.9, b after 0.6 and 1.14.
"""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from gymnasium import spaces
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from synrl_ray.errors import UserError
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.loading import load_policy
from synrl_ray.policies.policy import Policy
from synrl_ray.policies.q_network import check_q_network
from synrl_ray.policies.spaces import check_spaces
from synrl_ray.rl_modules import ActorCriticModule
from synrl_ray.rl_modules.plastic import Transition
from synrl_ray.rl_modules.plastic_actor_critic import PlasticActorCritic
from synrl_ray.settings.plasticity import (
    PairSTDP,
    PlasticLayers,
    RewardModulatedSTDP,
    RewardPrediction,
    ThresholdAdaptation,
    WeightBounds,
)
from synrl_ray.settings.policies import SpikingPolicy

OBS, ACTIONS = spaces.Box(-9, 9, (2,), np.float32), spaces.Discrete(2)
RULE = RewardModulatedSTDP(stdp=PairSTDP(a_plus=0.5, a_minus=0.0), tau_e=20.0, lr=1.0)
HEAD = "network.bodies.0.readout.linear.weight"
FIRST = "network.bodies.0.linears.0.weight"
THRESHOLDS = "network.bodies.0.neurons.0.threshold"


def policy(**options):
    plastic = PlasticLayers(**{"rule": RULE, "prediction": RewardPrediction(rate=0.0), **options})
    return SpikingPolicy(hidden_sizes=(2,), steps_per_observation=2, plastic=plastic)


def module_of(config, module_class=PlasticActorCritic, actions=ACTIONS):
    return RLModuleSpec(
        module_class=module_class, observation_space=OBS, action_space=actions, model_config=asdict(config)
    ).build()


def made(**options):
    module = module_of(policy(**options))
    with torch.no_grad():
        actor = module.network.bodies[0]
        for parameter in actor.parameters():
            parameter.zero_()
        actor.linears[0].weight.copy_(module.bounded(FIRST, torch.tensor([[2.0, 0.0], [0.0, 0.6]])))
    module.take_delta()
    return module


def step(*, rows=(0,), reward=1.0, action=0, valid=True, start=True):
    number = len(rows)
    return Transition(
        rows=np.array(rows),
        observations=np.ones((number, 2), np.float32),
        starts=np.full(number, start),
        actions=np.full(number, action),
        rewards=np.full(number, reward),
        valid=np.full(number, valid) if isinstance(valid, bool) else np.array(valid),
    )


def test_the_chosen_actions_weights_grow_with_its_inputs_spikes():
    """Both neurons' traces are 1 when they meet the spike of action 0, and the reward."""
    module = made()
    module.learn_from(step(reward=0.5))
    delta = module.take_delta()
    assert list(delta) == [HEAD]
    torch.testing.assert_close(delta[HEAD], torch.tensor([[0.25, 0.25], [0.0, 0.0]]))
    module.learn_from(step(reward=0.5, start=False))  # the episode goes on: traces and eligibility are still there
    kept = float(np.exp(-2 / 20))
    change = 0.5 * 0.5 * (1 + kept) + 0.5 * 0.5 * kept  # of this step's pairs, and of what the first step left
    assert module.take_delta()[HEAD][0].tolist() == pytest.approx([change] * 2)
    module.learn_from(step(reward=-0.5))
    assert module.take_delta()[HEAD][0].tolist() == pytest.approx([-0.25] * 2), "a start forgets"


def test_changes_of_environments_are_added_and_stay_in_bounds():
    module = made(bounds=WeightBounds(w_min=-0.5, w_max=0.75))
    module.learn_from(step(rows=(0, 1)))
    assert module.take_delta()[HEAD].tolist() == [[0.75, 0.75], [0.0, 0.0]]


def test_a_step_that_was_none_changes_nothing():
    module = made(layers=(0, -1), homeostasis=ThresholdAdaptation(target_rate=0.5, lr=0.1))
    module.learn_from(step(valid=False))
    assert all((change == 0).all() for change in module.take_delta().values())


def test_thresholds_follow_the_rate_of_the_environments_that_stepped():
    """With weights of at most 1, a fires in the second of two steps (1, then 1.9) and b in the second (0.6, 1.14):
    a rate of a half; wanted is a quarter. Two rows of three were steps."""
    module = made(
        layers=(0,), rule=RewardModulatedSTDP(lr=0.0), homeostasis=ThresholdAdaptation(target_rate=0.25, lr=0.1)
    )
    module.learn_from(step(rows=(0, 1, 2), valid=[True, False, True]))
    delta = module.take_delta()
    assert list(delta) == [FIRST, THRESHOLDS]
    assert delta[FIRST].abs().sum() == 0
    torch.testing.assert_close(delta[THRESHOLDS], torch.full((2,), 2 * 0.1 * (1 - 2 * 0.25)))
    assert module.plastic_metrics()["layer0_threshold_mean"] == pytest.approx(1.1)


def test_thresholds_stay_in_their_bounds():
    module = made(layers=(0,), homeostasis=ThresholdAdaptation(target_rate=0.0, lr=9.0, threshold_max=2.0))
    module.learn_from(step())
    assert (module.take_delta()[THRESHOLDS] == 1.0).all()
    module.commit({THRESHOLDS: torch.tensor([-5.0, 5.0])})
    assert module.plastic_weights()[THRESHOLDS].tolist() == pytest.approx([0.1, 2.0])


@pytest.mark.parametrize("encoder", ["population", "latency"])
@pytest.mark.parametrize("neuron", ["lif", "synaptic", "adaptive"])
def test_every_layer_may_be_plastic_with_any_encoder_and_neuron(encoder, neuron):
    torch.manual_seed(0)
    bounds = WeightBounds(w_min=-30.0, w_max=30.0)
    plastic = PlasticLayers(layers=(0, 1, 2), rule=RULE, prediction=RewardPrediction(rate=0.0), bounds=bounds)
    module = module_of(SpikingPolicy(hidden_sizes=(8, 6), encoder=encoder, encoder_low=-2.0, neuron=neuron,
                                     threshold=0.1, input_gain=9.0, hidden_gain=9.0, plastic=plastic))  # fmt: skip
    module.take_delta()
    for start in (True, False):
        module.learn_from(step(rows=(0, 1, 2), start=start))
    changes = module.take_delta()
    assert len(changes) == 3
    assert all(change.abs().sum() > 0 for change in changes.values())


def test_thresholds_of_their_own_are_saved(tmp_path):
    config = policy(layers=(0,), homeostasis=ThresholdAdaptation())
    network = ActorCritic(OBS, ACTIONS, config)
    network.bodies[0].neurons[0].threshold.copy_(torch.tensor([0.5, 2.0]))
    Policy(network, OBS, ACTIONS).save(tmp_path)
    loaded = load_policy(tmp_path)
    assert loaded.config == config
    assert loaded.network.bodies[0].neurons[0].threshold.tolist() == [0.5, 2.0]
    assert loaded.network.bodies[1].neurons[0].threshold.tolist() == 1.0


def test_the_plain_module_dqn_and_boxes_of_actions_are_refused():
    with pytest.raises(UserError, match="ActorCriticModule has no plastic layers — take PlasticActorCritic"):
        module_of(policy(), ActorCriticModule)
    with pytest.raises(UserError, match="the policy has no plastic layers — set plastic=PlasticLayers"):
        module_of(SpikingPolicy(hidden_sizes=(2,)))
    with pytest.raises(UserError, match=r"DQN learns from a replay.*set spiking.plastic=null"):
        check_q_network(OBS, ACTIONS, policy())
    with pytest.raises(UserError, match=r"plastic layers choose discrete actions — set spiking.plastic=null"):
        check_spaces(OBS, spaces.Box(-1, 1, (2,)), "Car-v0", policy())


@pytest.mark.parametrize(
    ("settings", "plastic", "message"),
    [
        ({"carry_state": True}, {}, "keep no state: set carry_state=false"),
        ({"encoder": "delta", "frame_stack": 2}, {}, "set encoder=current frame_stack=1"),
        ({"share_layers": True}, {}, "set share_layers=false"),
        ({"conv_layers": "small", "hidden_sizes": (8,)}, {}, "set conv_layers=null and skip=false"),
        ({"hidden_sizes": (8, 8, 8), "skip": True}, {}, "set conv_layers=null and skip=false"),
        ({}, {"layers": (3,)}, r"plastic.layers are \(3,\), and layers are 0 to 2, or -1 to -3"),
        ({}, {"layers": (2, -1)}, r"plastic.layers are \(2, -1\), which name one of 3 layers twice"),
        ({}, {"homeostasis": ThresholdAdaptation()}, "homeostasis is of hidden layers"),
        ({"neuron": "adaptive"}, {"layers": (0,), "homeostasis": ThresholdAdaptation()}, "is for neuron=lif"),
        ({"learn_threshold": True}, {"layers": (0,), "homeostasis": ThresholdAdaptation()}, "learn_threshold=false"),
    ],
)
def test_settings_that_plastic_layers_cannot_have(settings, plastic, message):
    with pytest.raises(ValueError, match=message):
        SpikingPolicy(**settings, plastic=PlasticLayers(**plastic))


def test_a_change_within_a_pass_leaves_the_pass_as_it_was():
    """IMPALA's and APPO's learners go back through a network in a thread, while changes of plastic weights arrive."""

    def gradient(change):
        module = made(layers=(-1,))
        module.commit({HEAD: torch.full((2, 2), 0.5)})
        inputs = module.network(torch.tensor([[[1.0, 1.0]]]))[0]
        if change:
            module.commit({name: torch.ones_like(weight) for name, weight in module.plastic_weights().items()})
        inputs[..., 0].sum().backward()
        return module, module.network.bodies[0].linears[0].weight.grad

    (still, expected), (changed, found) = gradient(False), gradient(True)
    torch.testing.assert_close(found, expected)
    assert expected.abs().sum() > 0
    for name, weight in changed.plastic_weights().items():
        assert not torch.equal(weight, still.plastic_weights()[name])
        assert not weight.requires_grad
