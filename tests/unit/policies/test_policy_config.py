import json
from dataclasses import FrozenInstanceError, asdict

import pytest

from synrl_ray.settings.policies import AnnPolicy, SpikingPolicy, policy_config

CONFIGS = [
    SpikingPolicy(),
    SpikingPolicy(hidden_sizes=(3,), carry_state=True, share_layers=True, beta=0.5, surrogate_slope=2.5, reset="zero"),
    AnnPolicy(),
    AnnPolicy(hidden_sizes=(5, 6, 7), share_layers=True),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_config_survives_json_and_keeps_its_tuples(config):
    assert policy_config(json.loads(json.dumps(asdict(config)))) == config


@pytest.mark.parametrize("config", CONFIGS)
def test_config_survives_the_dictionary_that_rllib_carries(config):
    assert policy_config(asdict(config)) == config


def test_missing_kind_means_spiking():
    assert policy_config({"hidden_sizes": [7]}) == SpikingPolicy(hidden_sizes=(7,))


def test_missing_settings_take_the_defaults():
    assert policy_config({"kind": "ann"}) == AnnPolicy(hidden_sizes=(64, 64), share_layers=False)


def test_unknown_kind_is_refused_by_name():
    with pytest.raises(ValueError, match="kind must be 'spiking' or 'ann', got 'lstm'"):
        policy_config({"kind": "lstm"})


def test_unknown_setting_is_refused_by_name_with_the_nearest():
    with pytest.raises(ValueError, match=r"bta is no setting: did you mean beta"):
        policy_config({"bta": 0.9})


def test_spiking_setting_is_unknown_to_the_ann():
    with pytest.raises(ValueError, match=r"beta is no setting: choose from hidden_sizes, .*, share_layers, .*, kind"):
        policy_config({"kind": "ann", "beta": 0.9})


def test_config_cannot_be_changed_in_place():
    with pytest.raises(FrozenInstanceError):
        SpikingPolicy().beta = 0.1
