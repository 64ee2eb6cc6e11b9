"""Adam whose moments were kept in another layout than the weights now have."""

import copy

import pytest
import torch
from torch import nn

from synrl_ray.algorithms.descent import adam

LAYOUTS = {
    "rows": lambda weight: weight.contiguous(),
    "columns": lambda weight: weight.transpose(0, 1).contiguous().transpose(0, 1),
}


@pytest.mark.parametrize("before", LAYOUTS)
@pytest.mark.parametrize("after", LAYOUTS)
@pytest.mark.parametrize("shape", [(3, 5), (3, 2, 4, 4)])
def test_moments_are_laid_out_as_the_weights_are(shape, before, after):
    """As of a checkpoint from before a layer's weights were laid out by columns; torch's own would mix them up."""
    torch.manual_seed(0)
    weight, first, second = torch.randn(3, *shape)
    expected, plain = nn.Parameter(weight.clone()), []
    saved = nn.Parameter(LAYOUTS[before](weight))
    for parameter, optimizer in ((expected, torch.optim.Adam([expected])), (saved, adam([saved]))):
        parameter.grad = first.clone() if parameter is expected else LAYOUTS[before](first)
        optimizer.step()
        plain.append(optimizer)
    loaded = nn.Parameter(LAYOUTS[after](saved.detach()))
    optimizer = adam([loaded])
    optimizer.load_state_dict(copy.deepcopy(plain[1].state_dict()))
    for parameter, each in ((expected, plain[0]), (loaded, optimizer)):
        parameter.grad = second.clone() if parameter is expected else LAYOUTS[after](second)
        each.step()
    torch.testing.assert_close(loaded, expected)
    assert optimizer.state[loaded]["exp_avg"].stride() == loaded.stride()
    assert optimizer.state[loaded]["step"].item() == 2
