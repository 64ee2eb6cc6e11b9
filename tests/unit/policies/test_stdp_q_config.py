"""Settings of a spiking Q-table: what is refused, schedules, the trace's time."""

import math
import subprocess
import sys

import pytest

from synrl_ray.settings.plasticity import PairSTDP
from synrl_ray.settings.stdp_q import StdpQ


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tau_e": -1.0}, "tau_e must be >= 0"),
        ({"tau_e": 1e7}, "tau_e = 1e.07 ms lasts .* decisions of 10 ms"),
        ({"lr": 0.0}, "lr must be > 0"),
        ({"lr": math.nan}, "lr must be finite"),
        ({"lr_end": 0.0}, "lr_end must be > 0"),
        ({"gamma": 1.1}, "gamma must be <= 1"),
        ({"epsilon_start": 1.5}, "epsilon_start must be <= 1"),
        ({"stdp_weight": -0.1}, "stdp_weight must be >= 0"),
        ({"initial_value": math.inf}, "initial_value must be finite"),
        ({"steps_per_observation": 1}, "steps_per_observation must be >= 2"),
        ({"dt": 0.0}, "dt must be > 0"),
        ({"base_current": 0.1}, "base_current = 0.1 brings the membrane to 0.613 .* more than 0.163"),
        ({"base_current": 0.2, "steps_per_observation": 5}, "base_current"),
        ({"stdp": PairSTDP(dependence="multiplicative")}, "stdp.dependence must be additive"),
    ],
)
def test_what_cannot_be_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        StdpQ(**settings)


def test_schedules_are_linear_and_stay_at_their_ends():
    config = StdpQ(
        lr=0.4, lr_end=0.2, lr_steps=100, epsilon_start=1.0, epsilon_end=0.0, epsilon_steps=10,
        stdp_weight=0.5, stdp_weight_end=0.1, stdp_steps=4,
    )  # fmt: skip
    assert [config.lr_at(n) for n in (0, 50, 100, 1000)] == pytest.approx([0.4, 0.3, 0.2, 0.2])
    assert [config.epsilon_at(n) for n in (0, 5, 10, 1000)] == pytest.approx([1, 0.5, 0, 0])
    assert [config.stdp_weight_at(n) for n in (0, 2, 4, 1000)] == pytest.approx([0.5, 0.3, 0.1, 0.1])
    assert StdpQ(lr=0.3).lr_at(10**6) == 0.3


def test_trace_decays_by_the_time_of_a_decision():
    config = StdpQ(tau_e=40.0, steps_per_observation=10, dt=2.0)
    assert config.decision_time == 20
    assert config.trace_decay == pytest.approx(math.exp(-0.5))
    assert config.trace_decay**config.trace_length <= 1e-6 < config.trace_decay ** (config.trace_length - 1)
    assert (StdpQ(tau_e=0.0).trace_decay, StdpQ(tau_e=0.0).trace_length) == (0, 1)


def test_reading_settings_imports_no_torch():
    code = "import sys, synrl_ray.settings.stdp_q; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
