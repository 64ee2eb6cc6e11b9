import json

import numpy as np
import pytest
from gymnasium import spaces

from synrl_ray.errors import NonFiniteError, UserError
from synrl_ray.experiment import AnnHebbian, SpikingHebbian
from synrl_ray.policies.hebbian.layout import HebbianLayout
from synrl_ray.policies.hebbian.policy import HebbianPolicy
from synrl_ray.policies.loading import load_policy

VECTORS, CHOICE = spaces.Box(-1, 1, (3,), np.float32), spaces.Discrete(2)
SETTINGS = {
    "rates": AnnHebbian(hidden_sizes=(4,)),
    "spikes": SpikingHebbian(hidden_sizes=(4,)),
    "layers": SpikingHebbian(hidden_sizes=(4,), coefficients="layer"),
    "fixed": AnnHebbian(hidden_sizes=(4,), plastic=False),
}
every_network = pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)


def policy_of(settings, observation_space=VECTORS, action_space=CHOICE, seed=0):
    layout = HebbianLayout(observation_space, action_space, settings)
    genome = np.random.default_rng(1).normal(size=layout.num_genes).astype(np.float32)
    return HebbianPolicy(layout, genome, seed=seed)


def played(policy, steps=5, batch=3):
    state, actions = policy.initial_state(batch), []
    for observations in np.random.default_rng(2).uniform(-1, 1, (steps, batch, 3)).astype(np.float32):
        chosen, state = policy.act(observations, state)
        actions.append(chosen)
    return np.array(actions), state


@every_network
def test_files_give_the_same_policy_and_hold_nothing_to_execute(settings, tmp_path):
    policy = policy_of(settings)
    policy.save(tmp_path, experiment="x")
    loaded = load_policy(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"policy.json", "policy.safetensors"}
    assert loaded.kind == settings.kind
    assert loaded.layout.settings == settings
    for before, after in zip(played(policy), played(loaded), strict=True):
        assert (before == after).all()


@every_network
def test_an_episode_begins_with_weights_that_are_its_own_and_come_again_with_the_seed(settings):
    policy = policy_of(settings)
    together, size = policy.initial_state(3), policy.layout.num_synapses
    again = policy.anew(0)
    apart = np.stack([again.initial_state(), again.initial_state(), again.initial_state()])
    assert (together == apart).all()
    if not settings.plastic:
        assert together.shape == (3, 0)
        return
    assert np.abs(together[:, :size]).max() <= settings.initial_weights
    assert not together[:, size:].any(), "traces begin at zero"
    others = (policy.initial_state(3), policy.anew(1).initial_state(3))
    assert not any((together[:, :size] == other[:, :size]).any() for other in others)


def test_weights_change_in_an_episode_unless_they_are_frozen():
    policy = policy_of(SETTINGS["spikes"])
    start, size = policy.anew(0).initial_state(3), policy.layout.num_synapses
    _, after = played(policy.anew(0))
    assert (after[:, :size] != start[:, :size]).any(1).all()
    _, frozen = played(policy.anew(0, learns=False))
    assert (frozen == start).all()


def test_acting_leaves_the_state_that_it_was_given_and_takes_one_observation():
    policy = policy_of(SETTINGS["rates"])
    state = policy.initial_state()
    kept, observation = state.copy(), np.array([0.1, -0.2, 0.3])
    action, after = policy.act(observation, state)
    assert (action.shape, after.shape) == ((), state.shape)
    assert (state == kept).all()
    assert (after != state).any()
    begun, first = policy.anew(0).act(observation)
    assert (begun == action, (first == after).all()) == (True, True)
    assert policy.act(np.zeros((0, 3)))[0].shape == (0,)


@pytest.mark.parametrize("name", ["rates", "layers", "fixed"])
def test_the_shuffled_control_has_the_same_rules_at_other_synapses_of_their_layer(name):
    policy = policy_of(SETTINGS[name])
    shuffled = policy.shuffled(3)
    assert (policy.shuffled(3).genome == shuffled.genome).all()
    for part, before in policy.layout.split(policy.genome).items():
        after = policy.layout.split(shuffled.genome)[part]
        assert (after != before).any() == (before.ndim > 1)
        if before.ndim > 1:  # each column is a synapse's
            columns = [each.reshape(-1, each.shape[-2] * each.shape[-1]).T.tolist() for each in (before, after)]
            assert sorted(columns[0]) == sorted(columns[1])


def test_box_actions_are_stretched_to_their_bounds():
    policy = policy_of(SETTINGS["rates"], action_space=spaces.Box(np.float32([-2, 0]), np.float32([2, 1])))
    outputs = np.array([[-1.0, 0.0], [0.5, 1.0]], np.float32)
    assert policy.network.actions(outputs).tolist() == [[-2.0, 0.5], [1.0, 1.0]]


IMAGES = spaces.Box(0, 255, (3, 84, 84), np.uint8)
CONVOLUTIONS = AnnHebbian(conv_layers=((6, 3, 1), (8, 5, 2)))


SMALL = spaces.Box(0, 255, (3, 12, 12), np.uint8)
UNBOUNDED = spaces.Box(-np.inf, np.inf, (1,))
RATES = SETTINGS["rates"]


@pytest.mark.parametrize(
    ("observed", "acted", "settings", "message"),
    [
        (IMAGES, CHOICE, RATES, "^E-v0 has the observation space .*, and Hebbian layers see vectors — set ann.conv_la"),
        (spaces.Box(0, 1, (2, 2)), CHOICE, RATES, "see vectors — wrap the environment so that it gives vectors"),
        (VECTORS, CHOICE, CONVOLUTIONS, "which is no image for convolutions — set ann.conv_layers=null"),
        (SMALL, CHOICE, CONVOLUTIONS, "convolution 2 of ann.conv_layers leaves nothing of 5 x 5 pixels — make its ker"),
        (VECTORS, spaces.MultiBinary(2), RATES, "evolved policies choose Discrete actions, or Box actions"),
        (VECTORS, UNBOUNDED, RATES, "E-v0 has the action space .* between finite bounds"),
    ],
)
def test_spaces_that_it_cannot_serve_are_refused_by_name(observed, acted, settings, message):
    with pytest.raises(UserError, match=message):
        HebbianLayout(observed, acted, settings, "E-v0")


def test_what_it_cannot_take_is_refused():
    policy = policy_of(SETTINGS["rates"])
    with pytest.raises(ValueError, match="draws no actions"):
        policy.act(np.zeros(3), deterministic=False)
    with pytest.raises(NonFiniteError):
        policy.act(np.array([0.0, np.nan, 0.0]))
    with pytest.raises(UserError, match="state must be"):
        policy.act(np.zeros(3), np.zeros(5))


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "hebbian-2"},
        {"settings": {"kind": "ann", "hidden_sizes": [2**20, 2**20]}},
        {"settings": {"kind": "ann", "hidden_sizes": [5]}},
        {"settings": {"kind": "tabular"}},
        {"action_space": {"type": "Discrete", "n": 2, "start": 1}},
        {"observation_space": None},
    ],
)
def test_a_strangers_description_is_damage_in_one_line(changes, tmp_path):
    policy_of(SETTINGS["rates"]).save(tmp_path)
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    with pytest.raises(UserError, match="damaged"):
        load_policy(tmp_path)
