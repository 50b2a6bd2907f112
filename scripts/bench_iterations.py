"""Whole iterations of the learners, rollout and update, as the benchmark measures them."""

from collections.abc import Callable

from sb3_contrib import RecurrentPPO
from stable_baselines3 import A2C
from stable_baselines3.common.logger import configure

from plasticrl.agents import RecurrentA2C
from plasticrl.agents.recurrent_ppo import PlainRecurrentPPO
from plasticrl.envs import make_vec_env
from plasticrl.scripts.bench_plain import PlainA2C


class _Player(RecurrentA2C):
    """Plays its rollouts and does not learn from them."""

    def train(self) -> None:
        pass


def _agent(kind: type[RecurrentA2C], n_envs: int, hidden_size: int) -> RecurrentA2C:
    env = make_vec_env("PlasticMaze-v0", n_envs=n_envs, seed=0)
    agent = kind("PlasticPolicy", env, policy_kwargs={"hidden_size": hidden_size}, device="cpu")
    agent.set_logger(configure(None, []))
    return agent


def a2c_iterations(n_envs: int, hidden_size: int) -> dict[str, Callable[[], object]]:
    """One whole iteration: rollout of an episode, loss, backward, Adam; "rollout" is without training."""
    agent, player = (_agent(kind, n_envs, hidden_size) for kind in (RecurrentA2C, _Player))
    mlp = A2C(
        "MlpPolicy",
        make_vec_env("PlasticMaze-v0", n_envs=n_envs, seed=0),
        policy_kwargs={"net_arch": {"pi": [hidden_size], "vf": [hidden_size]}},
        device="cpu",
    )
    mlp.set_logger(configure(None, []))
    steps = agent.n_steps * n_envs
    return {
        "plain": PlainA2C(n_envs, hidden_size).iteration,
        "fused": lambda: agent.learn(steps),
        "rollout": lambda: player.learn(steps),
        "sb3_mlp": lambda: mlp.learn(steps),
    }


def ppo_iterations() -> dict[str, Callable[[], object]]:
    """One whole iteration as in docs/results.md: 128 episodes, each step used four times."""

    def iteration(kind: type[RecurrentPPO]) -> Callable[[], object]:
        agent = kind(
            "MlpLstmPolicy",
            make_vec_env("PlasticMaze-v0", n_envs=128, seed=0),
            n_steps=250,
            batch_size=8000,
            n_epochs=4,
            policy_kwargs={"lstm_hidden_size": 100},
            device="cpu",
        )
        agent.set_logger(configure(None, []))
        return lambda: agent.learn(128 * 250)

    return {"plain": iteration(RecurrentPPO), "fused": iteration(PlainRecurrentPPO)}
