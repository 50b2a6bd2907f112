"""Cases of the speed benchmark and their timing: scans of every cell, and whole iterations of the learners.

Scans are run by the kernels, by autograd through the reference, and in JAX: each computes outputs and
gradients for drive, w, alpha and eta, from the start of an episode, with the cell's default rule and
modulation. "Plain" is the same equations in plain torch.
"""

import math
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from sb3_contrib import RecurrentPPO as ContribPPO
from stable_baselines3 import A2C
from stable_baselines3.common.logger import configure
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from torch import Tensor, nn
from torch.nn import functional

from plasticrl.agents import RecurrentA2C, RecurrentPPO
from plasticrl.agents.ppo.contrib import PlainRecurrentPPO
from plasticrl.envs import PlasticMazeVectorEnv, make_vec_env
from plasticrl.ops import Backend, plastic_scan
from plasticrl.ops.cells import CELLS, Modulation
from plasticrl.ops.problem import state_of
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.tasks.environments.setup import contrib_arguments, make_mazes
from plasticrl.scripts.tasks.task import processor_name


def interleaved(
    cases: Mapping[str, Callable[[], object]],
    rounds: int,
    summary: Callable[[list[float]], float] = statistics.median,
) -> dict[str, float]:
    """Return the seconds of each case; the cases take turns, so that all meet the same conditions.

    Each case first runs once without measurement, to compile and to fill caches.

    Args:
        cases: what to measure, by name.
        rounds: number of measurements of each case.
        summary: the number to return for a case's measurements; by default their median.
    """
    for case in cases.values():
        case()
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            began = time.perf_counter()
            case()
            times[name].append(time.perf_counter() - began)
    return {name: summary(measured) for name, measured in times.items()}


def peak_memory(case: Callable[[], object]) -> float:
    """Return the peak resident memory while ``case`` runs, above the level before it, in MB; Linux only.

    Run it in a separate process: freed memory kept by the allocator would hide part of the use.
    """
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    case()
    return (_status("VmHWM") - before) / 1024


def machine() -> dict[str, str | int | list[str]]:
    """Describe the machine and the versions that the numbers were measured with."""
    import torch

    cpuinfo = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    flags = set(re.findall(r"\b(avx2|avx512f|neon|asimd)\b", cpuinfo))
    return {
        "processor": processor_name(),
        "cores": os.cpu_count() or 1,
        "vector_units": sorted(flags),
        "torch_threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{package: version(package) for package in ("torch", "numba", "numpy", "stable-baselines3")},
    }


def _status(field: str) -> int:
    line = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert line is not None
    return int(line.group(1))


def plain_step(
    x: Tensor, drive: Tensor, w: Tensor, alpha: Tensor, eta: Tensor, trace: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute one step of a batch with Hebb's rule (Miconi et al. 2018, eqs. 1 and 2): outputs and trace.

    Args:
        x: previous outputs, ``(B, n)``.
        drive: external input, ``(B, n)``.
        w: fixed weights, ``(n, n)``.
        alpha: plasticity coefficients, ``(n, n)``.
        eta: scalar.
        trace: ``(B, n, n)``.
    """
    y = torch.tanh(drive + torch.bmm(w + alpha * trace, x.unsqueeze(2)).squeeze(2))
    return y, (1 - eta) * trace + eta * torch.bmm(y.unsqueeze(2), x.unsqueeze(1))


def plain_scan(drive: Tensor, w: Tensor, alpha: Tensor, eta: Tensor) -> Tensor:
    """Compute a whole sequence from the start of an episode, ``(T, B, n)``."""
    x = torch.zeros_like(drive[0])
    trace = drive.new_zeros(*x.shape, x.shape[-1])
    outputs = []
    for now in drive:
        x, trace = plain_step(x, now, w, alpha, eta, trace)
        outputs.append(x)
    return torch.stack(outputs)


class PlainA2C(nn.Module):
    """A2C as one would first write it: the graph is built while the agent acts.

    It uses the batched environments of this package, so that the comparison covers only agent and training.

    Args:
        n_envs: number of parallel episodes.
        hidden_size: number of neurons.
    """

    def __init__(self, n_envs: int, hidden_size: int) -> None:
        super().__init__()
        self.env = PlasticMazeVectorEnv(n_envs)
        width = self.env.reset()[0].shape[1]
        self.inputs = nn.Linear(width, hidden_size)
        self.w = nn.Parameter(0.01 * torch.rand(hidden_size, hidden_size))
        self.alpha = nn.Parameter(0.01 * torch.rand(hidden_size, hidden_size))
        self.eta = nn.Parameter(torch.tensor(0.01))
        self.actor = nn.Linear(hidden_size, 4)
        self.critic = nn.Linear(hidden_size, 1)
        self.optimizer = torch.optim.Adam(self.parameters(), lr=1e-3, eps=1e-4)

    def iteration(self) -> None:
        """Run one iteration: rollout of one episode, loss, backward, Adam."""
        obs, _ = self.env.reset(seed=0)
        x = self.w.new_zeros(len(obs), len(self.w))
        trace = self.w.new_zeros(*x.shape, len(self.w))
        log_probs, values, rewards, penalties = [], [], [], []
        for _ in range(self.env.episode_length):
            x, trace = plain_step(x, self.inputs(torch.from_numpy(obs)), self.w, self.alpha, self.eta, trace)
            policy = torch.distributions.Categorical(logits=self.actor(x))
            action = policy.sample()  # type: ignore[no-untyped-call]
            obs, reward, *_ = self.env.step(action.numpy())
            log_probs.append(policy.log_prob(action))  # type: ignore[no-untyped-call]
            values.append(self.critic(x).squeeze(1))
            rewards.append(torch.from_numpy(reward).float())
            penalties.append(policy.probs.square().sum(1))
        future = torch.zeros(len(obs))
        returns: list[Tensor] = []
        for paid in reversed(rewards):
            future = paid + 0.9 * future
            returns.insert(0, future)
        target, value = torch.stack(returns), torch.stack(values)
        gain = ((target - value.detach()) * torch.stack(log_probs)).mean()
        loss = -gain + 0.03 * functional.mse_loss(value, target) + 0.1 * torch.stack(penalties).mean()
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.parameters(), 1.0)
        self.optimizer.step()


class _Player(RecurrentA2C):
    """An agent that plays its rollouts without learning from them."""

    def train(self) -> None:
        pass


def _agent(kind: type[RecurrentA2C], n_envs: int, hidden_size: int, core: str = "plastic") -> RecurrentA2C:
    env = make_vec_env("PlasticMaze-v0", n_envs=n_envs, seed=0)
    policy = {"hidden_size": hidden_size, "normalize_observations": False, "normalize_returns": False}
    agent = kind("PlasticPolicy", env, n_steps=250, policy_kwargs={"core": core, **policy}, device="cpu")
    agent.set_logger(configure(None, []))
    return agent


def a2c_iterations(n_envs: int, hidden_size: int) -> dict[str, Callable[[], object]]:
    """Return functions that run one complete A2C iteration on the maze: rollout, loss, backward, Adam.

    The rollout is one episode long.

    Returns:
        "plain" uses the published equations, "ours" this package, "rollout" this package without training,
        "lstm" and "plastic_lstm" this package with other cores, and "sb3_mlp" SB3's A2C with a memoryless
        network, for the same number of steps.
    """
    agent, player = (_agent(kind, n_envs, hidden_size) for kind in (RecurrentA2C, _Player))
    mlp = A2C(
        "MlpPolicy",
        make_vec_env("PlasticMaze-v0", n_envs=n_envs, seed=0),
        policy_kwargs={"net_arch": {"pi": [hidden_size], "vf": [hidden_size]}},
        device="cpu",
    )
    mlp.set_logger(configure(None, []))
    steps = agent.n_steps * n_envs

    def gated(core: str) -> Callable[[], object]:
        learner = _agent(RecurrentA2C, n_envs, hidden_size, core)
        return lambda: learner.learn(steps)

    return {
        "plain": PlainA2C(n_envs, hidden_size).iteration,
        "ours": lambda: agent.learn(steps),
        "rollout": lambda: player.learn(steps),
        "lstm": gated("lstm"),
        "plastic_lstm": gated("plastic_lstm"),
        "sb3_mlp": lambda: mlp.learn(steps),
    }


def ppo_iterations(run: Run) -> dict[str, Callable[[], object]]:
    """Return functions that run one complete iteration of a recurrent PPO on the maze.

    Args:
        run: settings of sb3-contrib's RecurrentPPO; the others have the same.

    Returns:
        "sb3_contrib" is that learner, "sb3_contrib_faster" the one of the reproduction, which learns the same
        with states that are reset before each sequence; "lstm" and "plastic_lstm" are this package's.
    """
    arguments = contrib_arguments(run)
    policy = {"hidden_size": run.ppo.hidden_size, "normalize_observations": False, "normalize_returns": False}

    def iteration(kind: type[OnPolicyAlgorithm], **changes: Any) -> Callable[[], object]:
        env = make_mazes(run.maze, run.training.n_envs, run.seed)
        agent = kind(env=env, device="cpu", **{**arguments, **changes})
        agent.set_logger(configure(None, []))
        return lambda: agent.learn(agent.n_steps * agent.n_envs)

    def ours(core: str) -> Callable[[], object]:
        return iteration(RecurrentPPO, policy="PlasticPolicy", policy_kwargs={**policy, "core": core})

    return {
        "sb3_contrib": iteration(ContribPPO),
        "sb3_contrib_faster": iteration(PlainRecurrentPPO),
        "lstm": ours("lstm"),
        "plastic_lstm": ours("plastic_lstm"),
    }


Shape = tuple[int, int, int]  # T, B, n
SHAPES: list[Shape] = [(250, 30, 100), (250, 30, 200)]
RULES: dict[str, tuple[str, Modulation]] = {
    "rnn": ("hebb", "none"),
    "lstm": ("delta", "sigmoid"),
    "gru": ("delta", "sigmoid"),
}
ETAS = {"hebb": 0.01, "delta": 0.5}


class Scan(NamedTuple):
    """Arguments of a scan: the differentiable ones, the cotangent of the outputs, and the cell's name."""

    drive: Tensor
    w: Tensor
    alpha: Tensor
    eta: Tensor
    cotangent: Tensor
    cell: str

    @property
    def leaves(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The differentiable arguments."""
        return self.drive, self.w, self.alpha, self.eta


def draw_scan(cell: str, shape: Shape) -> Scan:
    """Draw the arguments of a cell: the same in every call."""
    generator = torch.Generator().manual_seed(0)

    def draw(*sizes: int) -> Tensor:
        return torch.randn(*sizes, generator=generator)

    steps, batch, n = shape
    rule, modulation = RULES[cell]
    rows = CELLS[cell].sums * n + (0 if modulation == "none" else n)
    drive, w = draw(steps, batch, rows + CELLS[cell].inputs * n), draw(rows, n) / (2 * math.sqrt(n))
    leaves = (drive, w, draw(n, n) / (10 * math.sqrt(n)), torch.tensor(ETAS[rule]))
    drive, w, alpha, eta = (leaf.requires_grad_() for leaf in leaves)
    return Scan(drive, w, alpha, eta, draw(steps, batch, n), cell)


def gradients(scan: Scan, backend: Backend) -> tuple[Tensor, ...]:
    """Run a scan forward and backward with plasticrl."""
    n, batch, cell = scan.w.shape[1], scan.drive.shape[1], CELLS[scan.cell]
    rule, modulation = RULES[scan.cell]
    hidden = scan.w.new_zeros(batch, n)
    state = state_of(hidden, hidden if cell.has_memory else None, hidden.new_zeros(batch, n, n))
    outputs, _ = plastic_scan(
        *scan.leaves, state, rule=rule, cell=cell.name, modulation=modulation, backend=backend
    )
    return torch.autograd.grad(outputs, scan.leaves, scan.cotangent)


def versus_autograd(cell: str, shape: Shape, rounds: int) -> dict[str, float]:
    """Return the seconds, each the best of ``rounds``, of the kernels ("ours") and of autograd ("plain")."""
    scan = draw_scan(cell, shape)
    cases = {"plain": lambda: gradients(scan, "reference"), "ours": lambda: gradients(scan, "numba")}
    return interleaved(cases, rounds, min)


def versus_jax(cell: str, shape: Shape, rounds: int) -> dict[str, float]:
    """Return the best seconds of ``rounds`` on one core, of the kernels ("ours") and of JAX ("jax").

    Run it in a process of its own, which stays on that core: JAX counts the cores when it is imported.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    torch.set_num_threads(1)
    scan = draw_scan(cell, shape)
    return interleaved({"jax": jax_gradients(scan), "ours": lambda: gradients(scan, "numba")}, rounds, min)


def jax_gradients(scan: Scan) -> Callable[[], Any]:
    """Return a compiled function that runs a scan forward and backward in JAX, as written from the equations.

    It returns the gradients of a :class:`Scan`'s leaves; of "rnn" with Hebb's rule and of "lstm" with the
    delta rule and sigmoid modulation.
    """
    jax: Any = import_module("jax")
    np: Any = import_module("jax.numpy")
    n, batch = scan.w.shape[1], scan.drive.shape[1]

    def product(matrices: Any, x: Any) -> Any:
        return np.einsum("bij,bj->bi", matrices, x)

    def outer(a: Any, b: Any) -> Any:
        return a[:, :, None] * b[:, None, :]

    def outputs(drive: Any, w: Any, alpha: Any, eta: Any) -> Any:
        def rnn(state: Any, now: Any) -> Any:
            x, trace = state
            y = np.tanh(now + x @ w.T + product(alpha * trace, x))
            return (y, (1 - eta) * trace + eta * outer(y, x)), y

        def lstm(state: Any, now: Any) -> Any:
            x, memory, trace = state
            i, f, g, o, m = np.split(now + x @ w.T, 5, axis=-1)
            i, f, o, m = (jax.nn.sigmoid(sums) for sums in (i, f, o, m))
            g = np.tanh(g + product(alpha * trace, x))
            memory = f * memory + i * g
            y, key = o * np.tanh(memory), x / math.sqrt(n)
            trace = trace + outer(eta * m * (g - product(trace, key)), key)
            return (y, memory, trace), y

        x, trace = np.zeros((batch, n), drive.dtype), np.zeros((batch, n, n), drive.dtype)
        if scan.cell == "rnn":
            return jax.lax.scan(rnn, (x, trace), drive)[1]
        return jax.lax.scan(lstm, (x, x, trace), drive)[1]

    leaves = [np.asarray(leaf.detach().numpy()) for leaf in scan.leaves]
    cotangent = np.asarray(scan.cotangent.numpy())
    compiled = jax.jit(jax.grad(lambda *given: (outputs(*given) * cotangent).sum(), argnums=(0, 1, 2, 3)))
    return lambda: jax.block_until_ready(compiled(*leaves))
