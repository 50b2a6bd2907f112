"""Cases of the benchmarks: whole iterations of the learners, and the same equations in plain torch."""

from collections.abc import Callable
from typing import Any

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
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.tasks.environments.setup import contrib_arguments, make_mazes


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
