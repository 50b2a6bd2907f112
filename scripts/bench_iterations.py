"""Complete iterations of the learners, rollout and update, for the benchmark."""

from collections.abc import Callable

from sb3_contrib import RecurrentPPO
from stable_baselines3 import A2C
from stable_baselines3.common.logger import configure

from plasticrl.agents import RecurrentA2C
from plasticrl.agents.recurrent_ppo import PlainRecurrentPPO
from plasticrl.envs import make_vec_env
from plasticrl.scripts.bench_plain import PlainA2C
from plasticrl.scripts.maze_setup import make_mazes
from plasticrl.scripts.ppo_run import PPORun


class _Player(RecurrentA2C):
    """An agent that plays its rollouts without learning from them."""

    def train(self) -> None:
        pass


def _agent(kind: type[RecurrentA2C], n_envs: int, hidden_size: int) -> RecurrentA2C:
    env = make_vec_env("PlasticMaze-v0", n_envs=n_envs, seed=0)
    agent = kind("PlasticPolicy", env, policy_kwargs={"hidden_size": hidden_size}, device="cpu")
    agent.set_logger(configure(None, []))
    return agent


def a2c_iterations(n_envs: int, hidden_size: int) -> dict[str, Callable[[], object]]:
    """Return functions that run one complete A2C iteration on the maze: rollout, loss, backward, Adam.

    The rollout is one episode long.

    Returns:
        "plain" uses the published equations, "ours" this package, "rollout" this package without training,
        and "sb3_mlp" SB3's A2C with a memoryless network, for the same number of steps.
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
    return {
        "plain": PlainA2C(n_envs, hidden_size).iteration,
        "ours": lambda: agent.learn(steps),
        "rollout": lambda: player.learn(steps),
        "sb3_mlp": lambda: mlp.learn(steps),
    }


def ppo_iterations(run: PPORun) -> dict[str, Callable[[], object]]:
    """Return functions that run one complete iteration of RecurrentPPO on the maze.

    Args:
        run: the settings.

    Returns:
        "plain" uses sb3-contrib's class, "ours" this package's.
    """

    def iteration(kind: type[RecurrentPPO]) -> Callable[[], object]:
        env = make_mazes(run.maze, run.training.n_envs, run.seed)
        agent = kind(env=env, device="cpu", **run.arguments())
        agent.set_logger(configure(None, []))
        return lambda: agent.learn(agent.n_steps * agent.n_envs)

    return {"plain": iteration(RecurrentPPO), "ours": iteration(PlainRecurrentPPO)}
