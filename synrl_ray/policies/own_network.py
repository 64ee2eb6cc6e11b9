"""Networks that users bring: a class that computes one simulation step, as the body of a policy.

Legend: E environment step, K simulation steps per observation, B batch, S state, O outputs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from synrl_ray.errors import UserError, reason_of
from synrl_ray.settings.policies import SpikingPolicy

_CONTRACT = "it takes inputs [B, *shape] and a state [B, state_size], and returns outputs [B, O] and the next state"
_ROWS = 5
"""Of the batch that a network is tried with."""
_ROUNDING = 1e-3
"""Of the largest number: what another order of sums may change, with a wide margin."""


class OwnNetwork(nn.Module):
    """A user's network over time, as :class:`synrl_ray.snn.SpikingMLP` is one: state goes in and comes out.

    The class is made with the shape of an observation, the number of outputs and the policy's settings, of which it
    uses what it likes, and says in ``state_size`` how many numbers it carries for one batch entry. Zeros are its rest.
    A call is one simulation step::

        class MyNet(nn.Module):
            def __init__(self, shape, num_outputs, settings):
                super().__init__()
                self.hidden, self.outputs = nn.Linear(shape[0], 64), nn.Linear(64, num_outputs)
                self.lif = snntorch.Leaky(beta=settings.beta)
                self.state_size = 64

            def forward(self, inputs, state):
                spikes, state = self.lif(self.hidden(inputs), state)
                return self.outputs(spikes), state

    Each observation is held for ``steps_per_observation`` such steps, and the last one's outputs count.

    Args:
        settings: with ``network``, ``module:Class``. The module is imported, so whoever wrote the path is trusted.
        shape: of an observation, without batch axes.
        num_outputs: O.

    Shape:
        inputs ``[E, B, *shape]``, state ``[B, S]``, reset_mask ``[E, B]`` → outputs ``[E, B, O]``, state ``[B, S]``.

    Raises:
        UserError: if the class is not there, cannot be made, or does not do what is said above; so too if it draws
            random numbers, keeps something between calls, or computes something else for a row alone than within a
            batch, or in eval mode than in train mode, since learners could not replay what it did.
    """

    def __init__(self, settings: SpikingPolicy, shape: tuple[int, ...], num_outputs: int) -> None:
        super().__init__()
        assert settings.network is not None
        self.path = settings.network
        self.steps_per_observation = settings.steps_per_observation
        self.shape, self.num_outputs = shape, num_outputs
        made = _class_at(self.path)
        with self._blamed("cannot be made"):
            self.module: nn.Module = made(shape, num_outputs, settings)
        if not isinstance(self.module, nn.Module):
            raise UserError(f"network {self.path!r} is no torch.nn.Module", "let the class be derived from it")
        size = getattr(self.module, "state_size", None)
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            problem = f"network {self.path!r} has the state_size {size!r}"
            raise UserError(problem, "let it set self.state_size to a whole number, 0 if it carries nothing")
        self.state_size = size
        _forget_in_snntorch(self.module)
        self._try()

    def forward(
        self, inputs: Tensor, state: Tensor | None = None, reset_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return outputs ``[E, B, O]`` and the state after the last observation."""
        if state is None:
            state = inputs.new_zeros(inputs.shape[1], self.state_size)
        outputs = []
        for e, observation in enumerate(inputs.unbind(0)):
            if reset_mask is not None:
                state = state.masked_fill(reset_mask[e].unsqueeze(-1), 0.0)
            for _ in range(self.steps_per_observation):
                output, state = self._step(observation, state)
            outputs.append(output)
        self._let_go()
        return torch.stack(outputs), state

    def layer_inputs(
        self, inputs: Tensor, state: Tensor | None = None, reset_mask: Tensor | None = None
    ) -> list[tuple[nn.Module, Tensor]]:
        """Every linear layer and convolution in the order of their calls, and what it receives: ``[E*K, B, ...]``, or
        maps ``[E*K*B, C, H, W]``. A layer that receives several shapes is there once for each.

        Nothing else of the network is seen here: what it computes besides is not a synaptic operation.
        """
        received = self._received(inputs, state, reset_mask)
        return [
            (layer, signal.reshape(-1, *signal.shape[-3:]) if isinstance(layer, nn.Conv2d) else signal)
            for layer, signal in received
        ]

    def _received(
        self, inputs: Tensor, state: Tensor | None, reset_mask: Tensor | None
    ) -> list[tuple[nn.Module, Tensor]]:
        """As :meth:`layer_inputs`, of all layers one call after another ``[E*K, B, ...]``."""
        received: dict[tuple[nn.Module, torch.Size], list[Tensor]] = {}

        def keep(layer: nn.Module, given: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
            signal = (given[0] if given else named["input"]).detach()
            received.setdefault((layer, signal.shape), []).append(signal)

        layers = [layer for layer in self.module.modules() if isinstance(layer, (nn.Linear, nn.Conv2d))]
        handles = [layer.register_forward_pre_hook(keep, with_kwargs=True) for layer in layers]
        try:
            self(inputs, state, reset_mask)
        finally:
            for handle in handles:
                handle.remove()
        return [(layer, torch.stack(signals)) for (layer, _), signals in received.items()]

    def forward_with_spikes(
        self, inputs: Tensor, state: Tensor | None = None, reset_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """As :meth:`forward`, and the spikes ``[E*K, B, N]`` that layers receive; those of no layer are not seen.

        They are of the same layers at every call: those that received spikes alone when the network was made and tried.
        What is not zero is a spike there.
        """
        outputs, after = self(inputs, state, reset_mask)
        received = self._received(inputs, state, reset_mask)[1:]
        spikes = [signal != 0 for place, (_, signal) in enumerate(received) if place in self._spiking]
        return outputs, after, [signal.reshape(*signal.shape[:2], -1).to(inputs.dtype) for signal in spikes]

    @staticmethod
    def receives_spikes(signal: Tensor, *, counts: bool = False) -> bool:
        """Whether what a layer receives is nothing but zeros and ones, or whole numbers where a code may give several
        spikes at once."""
        return bool((((signal == 0) | (signal == 1)) if not counts else (signal >= 0) & (signal % 1 == 0)).all())

    def _step(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        returned: Any = self.module(inputs, state)
        if not (isinstance(returned, tuple) and len(returned) == 2 and all(isinstance(r, Tensor) for r in returned)):
            raise UserError(f"network {self.path!r} returned {_brief(returned)}", _CONTRACT)
        sizes = {"outputs": self.num_outputs, "a state": self.state_size}
        for tensor, (what, size) in zip(returned, sizes.items(), strict=True):
            if tensor.shape != (len(inputs), size):
                found = f"returned {what} of the shape {list(tensor.shape)}, not {[len(inputs), size]}"
                declared = f"state_size={size}" if what == "a state" else f"{size} outputs"
                raise UserError(f"network {self.path!r} {found}", f"it has {declared}; {_CONTRACT}")
        return returned

    def _try(self) -> None:
        """Compute two observations twice: what comes out must be the same, and of the declared sizes."""
        numbers = 2 * 2 * torch.Size(self.shape).numel()
        inputs = torch.linspace(-1, 1, numbers).view(2, 2, *self.shape)
        with torch.no_grad(), self._blamed("cannot take an observation"):
            (first, after), (again, after_again) = self(inputs), self(inputs)
            received = self._received(inputs, None, None)[1:]
        self._spiking = {place for place, (_, signal) in enumerate(received) if self.receives_spikes(signal)}
        if not (torch.equal(first, again) and torch.equal(after, after_again)):
            raise UserError(
                f"network {self.path!r} returns something else when it is called again with the same inputs and state",
                "let it draw no random numbers, and keep nothing between calls but in the state",
            )
        self._compare()

    def _compare(self) -> None:
        """Compute rows together, in both modes, and each alone: rollouts, learners and saved policies do all of that.

        Buffers may differ: snnTorch's neurons write theirs at every call.
        """
        inputs = torch.linspace(-1, 1, 2 * _ROWS * torch.Size(self.shape).numel()).view(2, _ROWS, *self.shape)
        with torch.no_grad(), _modes_kept(self.module):
            self.module.eval()
            with self._blamed("cannot take an observation in eval mode"):
                judged = self(inputs)
            self.module.train()
            with self._blamed("cannot take an observation in train mode"):
                together = self(inputs)
            self._require_same(together, judged, "in eval mode than in train mode", "let both modes do the same")
            with self._blamed("cannot take one row of a batch alone"):
                each = [self(row) for row in inputs.split(1, dim=1)]
        outputs, states = zip(*each, strict=True)
        alone = torch.cat(outputs, dim=1), torch.cat(states)
        self._require_same(
            together, alone, "for a row alone than for the same row within a batch", "let no row depend on the others"
        )

    def _require_same(self, found: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor], when: str, remedy: str) -> None:
        """Raise :class:`UserError` if outputs ``[E, B, O]`` or states ``[B, S]`` are not the same up to rounding."""
        for ours, theirs, what in zip(found, other, ("other outputs", "another state"), strict=True):
            if _differ(ours, theirs):
                advice = f"{remedy}: batch normalisation does not keep to that, layer normalisation does"
                raise UserError(f"network {self.path!r} returns {what} {when}", advice)

    def _let_go(self) -> None:
        """Cut what modules have put into their buffers, as snnTorch's do with their state, off its history."""
        for module in self.module.modules():
            for name, buffer in module._buffers.items():
                if buffer is not None and buffer.requires_grad:
                    module._buffers[name] = buffer.detach()

    @contextmanager
    def _blamed(self, what: str) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # whatever a user's code may raise
            problem = f"network {self.path!r} {what} ({reason_of(error, named=True)})"
            raise UserError(problem, f"{_CONTRACT}; it is made with (shape, num_outputs, settings)") from error


def _class_at(path: str) -> Any:
    module, _, name = path.partition(":")
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        remedy = "its folder must be on the PYTHONPATH, or its package installed"
        raise UserError(f"network {path!r} needs the module {error.name!r}, which is not there", remedy) from error
    except AttributeError as error:
        raise UserError(f"network {path!r} cannot be found ({reason_of(error)})", "check the class's name") from error
    except Exception as error:  # whatever a module may do when it is imported
        problem = f"network {path!r} cannot be imported ({reason_of(error, named=True)})"
        raise UserError(problem, "import its module yourself to see more") from error


def _forget_in_snntorch(network: nn.Module) -> None:
    """Take the network's neurons from snnTorch's list of all, which would keep each alive for ever."""
    if "snntorch" in sys.modules:
        neurons = sys.modules["snntorch"].SpikingNeuron
        own = set(network.modules())
        neurons.instances[:] = [neuron for neuron in neurons.instances if neuron not in own]


@contextmanager
def _modes_kept(network: nn.Module) -> Iterator[None]:
    """Give every module its own mode back, which may not be that of the whole."""
    before = [(module, module.training) for module in network.modules()]
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


def _differ(found: Tensor, other: Tensor) -> bool:
    """Whether most rows ``[..., B, N]`` do: rounding may carry a membrane over its threshold in one, not in most."""
    if not found.numel():
        return False
    far = ~torch.isclose(found, other, rtol=0, atol=_ROUNDING * found.abs().max().item())
    return int(far.transpose(-1, -2).flatten(0, -2).any(0).sum()) > _ROWS // 2


def _brief(returned: Any) -> str:
    if isinstance(returned, tuple):
        return f"({', '.join(type(item).__name__ for item in returned)})"
    return type(returned).__name__
