"""Random arguments of a plastic recurrence, for every cell, rule, modulation and kind of alpha."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from plasticrl.ops import plastic_scan
from plasticrl.ops.cells import CELLS
from plasticrl.ops.problem import state_of
from plasticrl.rules import ClippedHebb, Delta, FastWeights, Hebb, Oja, Retroactive, Rule, ShortTermPlasticity
from plasticrl.state import RecurrentState

ALPHAS = ["full", "shared", "none"]
RULES: list[Rule] = [Hebb(), Oja(), ClippedHebb(0.2), Delta()]  # those of the kernels
ADJOINT_RULES: list[Rule] = [Retroactive(0.2), ShortTermPlasticity(), FastWeights()]
MODULATIONS = ["none", "sigmoid", "tanh", "one sigmoid", "one tanh"]  # one for the net, or each neuron's own


@dataclass
class Case:
    """Arguments of a scan.

    Attributes:
        inputs: the differentiable ones: drive, w, eta, hidden and trace; alpha, the rule's own parameters
            and cell if there are any.
        masks: reset and clamp.
        rule: the rule.
        cell: name of the cell.
        modulation: one of ``MODULATIONS``.
        cotangents: one for each result.
    """

    inputs: dict[str, Tensor]
    masks: dict[str, Tensor]
    rule: Rule
    cell: str
    modulation: str
    cotangents: list[Tensor] = field(default_factory=list)

    @property
    def options(self) -> dict[str, Any]:
        """Rule, its parameters, cell and modulation, by their names in :func:`plasticrl.plastic_scan`."""
        return {
            "rule": self.rule,
            "cell": self.cell,
            "modulation": self.modulation.split()[-1],
            "rule_parameters": self.rule_parameters(),
        }

    def leaves(self, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
        """Copies of the inputs that gradients are taken of."""
        return {name: x.to(dtype, copy=True).detach().requires_grad_() for name, x in self.inputs.items()}

    def state(self, v: dict[str, Tensor] | None = None) -> RecurrentState:
        """The first state; ``v`` replaces the inputs."""
        v = self.inputs if v is None else v
        return state_of(v["hidden"], v.get("cell"), v["trace"])

    def rule_parameters(self, v: dict[str, Tensor] | None = None) -> tuple[Tensor, ...]:
        """The rule's own parameters; ``v`` replaces the inputs."""
        v = self.inputs if v is None else v
        return tuple(v[parameter.name] for parameter in self.rule.parameters if parameter.name in v)

    def scan(self, v: dict[str, Tensor] | None = None, **options: Any) -> list[Tensor]:
        """Results of a scan: the outputs, then the parts of the state."""
        v = self.inputs if v is None else v
        outputs, end = plastic_scan(
            v["drive"], v["w"], v.get("alpha"), v["eta"], self.state(v),
            **{**self.options, **self.masks, "rule_parameters": self.rule_parameters(v), **options},
        )  # fmt: skip
        return [outputs, *end]

    def run(self, dtype: torch.dtype, backend: str, **options: Any) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Results, and gradients of their products with the cotangents."""
        v = self.leaves(dtype)
        results = self.scan(v, backend=backend, **options)
        loss = sum((r * c.to(dtype)).sum() for r, c in zip(results, self.cotangents, strict=True))
        gradients = torch.autograd.grad(loss, list(v.values()), materialize_grads=True)
        return [r.detach() for r in results], dict(zip(v, gradients, strict=True))


def make_case(
    steps: int, batch: int, n: int, *, cell: str = "rnn", rule: Rule = RULES[0], modulation: str = "none",
    alpha: str = "full", eta: float = 0.1, masked: bool = True, seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Case:  # fmt: skip
    """Draw a case. A clamp is drawn only for the RNN without modulation, which alone takes one."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    modulated = 0 if modulation == "none" else 1 if modulation.startswith("one") else n
    rows = CELLS[cell].sums * n + modulated
    inputs = {
        "drive": draw(steps, batch, rows + CELLS[cell].inputs * n),
        "w": draw(rows, n) / (2 * n**0.5),
        "eta": torch.tensor(eta),
        "hidden": draw(batch, n).tanh(),
        "trace": draw(batch, rule.matrices * n, n) / 10,
    }
    if CELLS[cell].has_memory:
        inputs["cell"] = draw(batch, n)
    if alpha != "none":
        inputs["alpha"] = draw(n, n) / (2 * n**0.5) if alpha == "full" else torch.tensor(0.5 / n)
        for parameter in rule.parameters:
            shape = (n, n) if parameter.each else ()
            inputs[parameter.name] = parameter.start(eta) + draw(*shape) / 20
    masks = {"reset": torch.rand(steps, batch, generator=generator) < 0.05}
    if cell == "rnn" and modulation == "none":
        masks["clamp"] = torch.rand(steps, batch, n, generator=generator) < 0.1
    cotangents = [draw(steps, batch, n), draw(batch, n), draw(batch, rule.matrices * n, n)]
    if CELLS[cell].has_memory:
        cotangents.insert(2, draw(batch, n))
    inputs, cotangents = {k: x.to(dtype) for k, x in inputs.items()}, [x.to(dtype) for x in cotangents]
    return Case(inputs, masks if masked else {}, rule, cell, modulation, cotangents)
