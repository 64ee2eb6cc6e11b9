"""Settings refuse what makes no sense, wherever they are made, and are read without torch."""

import math
import subprocess
import sys

import pytest
from pydantic import TypeAdapter, ValidationError

from synrl_ray.settings.plasticity import (
    PairSTDP,
    RewardModulatedSTDP,
    RewardPrediction,
    TeacherSignal,
    ThresholdAdaptation,
    TripletSTDP,
    WeightBounds,
)


@pytest.mark.parametrize(
    ("cls", "settings", "message"),
    [
        (PairSTDP, {"tau_plus": 0.0}, "tau_plus must be > 0, got 0.0"),
        (PairSTDP, {"tau_minus": -5.0}, "tau_minus must be > 0, got -5.0"),
        (PairSTDP, {"a_plus": -0.1}, "a_plus must be >= 0, got -0.1"),
        (PairSTDP, {"a_minus": math.nan}, "a_minus must be finite, got nan"),
        (TripletSTDP, {"tau_x": 0}, "tau_x must be > 0, got 0"),
        (TripletSTDP, {"tau_y": math.inf}, "tau_y must be finite, got inf"),
        (RewardModulatedSTDP, {"tau_e": -1.0}, "tau_e must be > 0, got -1.0"),
        (RewardPrediction, {"rate": 1.5}, "rate must be <= 1, got 1.5"),
        (TeacherSignal, {"fade_steps": -1}, "fade_steps must be >= 0, got -1"),
        (ThresholdAdaptation, {"threshold_min": 3.0, "threshold_max": 2.0}, "threshold bounds cross"),
        (WeightBounds, {"w_min": 0.5, "w_max": 0.2}, "weight bounds cross: w_min = 0.5 must be < w_max = 0.2"),
        (WeightBounds, {"w_max": math.inf}, "w_max must be finite"),
    ],
)
def test_bad_settings(cls, settings, message):
    with pytest.raises(ValueError, match=message) as caught:
        cls(**settings)
    assert "\n" not in str(caught.value)


def test_they_sit_inside_an_experiment_as_json():
    adapter = TypeAdapter(RewardModulatedSTDP)
    config = RewardModulatedSTDP(stdp=TripletSTDP(tau_x=50.0), tau_e=200.0)
    assert adapter.validate_json(adapter.dump_json(config)) == config
    with pytest.raises(ValidationError, match="tau_e"):
        adapter.validate_python({"tau_e": -1.0})


def test_reading_them_imports_no_torch():
    code = "import sys, synrl_ray.settings.plasticity; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
