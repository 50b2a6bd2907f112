import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled, ResetNeeded
from gymnasium.wrappers import RecordVideo

from plasticrl.envs import MazeConfig, PlasticMazeEnv, PlasticMazeVectorEnv
from plasticrl.envs.maze.config import maze_layout
from plasticrl.envs.maze.env import MazeDynamics
from plasticrl.envs.maze.picture import draw_picture, draw_text, maze_scene

WALL, FLOOR, AGENT, REWARD = (72, 83, 101), (247, 244, 237), (34, 92, 189), (240, 168, 32)


def scene_after(path, square=(5, 5), goal=(9, 9), **settings):
    """The scene after a walk that starts at a square, both counted from 1."""
    config = MazeConfig(**settings)
    dynamics = MazeDynamics(config)
    number = {tuple(place): n for n, place in enumerate(dynamics.layout.squares.tolist())}
    rngs = [np.random.default_rng(0)]
    state, _ = dynamics.start(rngs)
    state = state._replace(square=np.array([number[square]]), goal=np.array([number[goal]]))
    history = [state]
    for action in path:
        history.append(dynamics.step(history[-1], np.array([action]), rngs).state)
    return maze_scene(dynamics.layout, config.episode_length, history)


def pixel(picture, square, sides):
    """Colour at the middle of a square."""
    unit = len(picture) / sides
    return tuple(picture[int((square[0] + 0.5) * unit), int((square[1] + 0.5) * unit)].tolist())


@pytest.mark.parametrize("size", [256, 384, 500, 1024])
def test_the_picture_shows_walls_agent_and_reward_where_they_are(size):
    scene = scene_after([0, 0], goal=(9, 9))
    picture = draw_picture(scene, size)
    assert picture.shape == (size, size, 3)
    assert picture.dtype == np.uint8
    assert pixel(picture, (3, 5), 11) == AGENT
    assert pixel(picture, (9, 9), 11) == REWARD
    for row in range(2, 10, 2):
        for column in range(2, 10, 2):
            assert pixel(picture, (row, column), 11) == WALL
    assert pixel(picture, (1, 9), 11) == FLOOR


def test_the_trail_fades_and_breaks_at_a_teleport():
    plain = draw_picture(scene_after([0, 0, 2, 2]), 384)
    older, newer = pixel(plain, (5, 5), 11), pixel(plain, (3, 4), 11)
    assert older != FLOOR
    assert sum(newer) < sum(older) < sum(FLOOR), "the trail is darker where it is newer"
    scene = scene_after([3, 3], square=(5, 5), goal=(5, 6))
    assert scene.trail[:3] == ((5, 5), (5, 6), scene.trail[2])
    assert scene.finds == 1
    assert scene.trail[-1] == scene.agent != (5, 7)


def test_the_trail_goes_to_where_the_reward_was():
    env = PlasticMazeEnv(render_mode="ansi", relocate_every=2, episode_length=250)
    env.reset(seed=0)
    at = env.dynamics.layout.squares.tolist()
    env._state = env.state._replace(goal=np.array([at.index([5, 7])]))
    env._history[0] = env.state
    for _ in range(2):
        env.step(3)
    scene = maze_scene(env.dynamics.layout, 250, env._history)
    assert scene.finds == 1
    assert scene.trail[:3] == ((5, 5), (5, 6), (5, 7))
    assert scene.goal != (5, 7)


def test_the_text_shows_walls_agent_and_reward():
    lines = draw_text(scene_after([0, 0], size=5, square=(5, 5), goal=(1, 3))).splitlines()
    assert lines == [
        "step 2/250  rewards 0",
        "# # # # # # #",
        "# . . R . . #",
        "# . # . # . #",
        "# . . . . A #",
        "# . # . # . #",
        "# . . . . . #",
        "# # # # # # #",
    ]


@pytest.mark.parametrize(
    "env_id", ["PlasticMaze-v0", "PlasticMazeICLR-v0", "PlasticMazeMoving-v0", "PlasticMazeRandom-v0"]
)
def test_rgb_and_text_through_gymnasium(env_id):
    env = gym.make(env_id, render_mode="rgb_array", render_size=256)
    env.reset(seed=0)
    first = env.render()
    assert first.shape == (256, 256, 3)
    assert np.array_equal(first, env.render()), "looking changes nothing"
    env.step(0)
    assert not np.array_equal(first, env.render())
    env = gym.make(env_id, render_mode="ansi")
    env.reset(seed=0)
    assert env.render().count("A") == 1


def test_the_batch_shows_each_of_its_mazes():
    env = PlasticMazeVectorEnv(3, render_mode="ansi", size=5, episode_length=2)
    env.reset(seed=4)
    for step in (1, 0, 1):
        env.step(np.array([0, 1, 2]))
        singles = env.render()
        assert len(set(singles)) == 3
        assert all(text.startswith(f"step {step}/2") for text in singles)
    frames = PlasticMazeVectorEnv(2, render_mode="rgb_array", render_size=64)
    frames.reset(seed=0)
    assert [frame.shape for frame in frames.render()] == [(64, 64, 3)] * 2


def test_each_maze_and_episode_is_shown_with_its_own_pillars():
    env = PlasticMazeVectorEnv(3, render_mode="ansi", episode_length=2, random_layout=True)
    env.reset(seed=0)
    seen = set()
    for _ in range(5):
        for row, text in enumerate(env.render()):
            walls = maze_layout(9, int(env.state.layout[row])).walls
            squares = np.array([line.split() for line in text.splitlines()[1:]])
            assert np.array_equal(squares == "#", walls)
            seen.add(walls.tobytes())
        env.step(np.zeros(3, dtype=int))
    assert len(seen) == 9


def test_the_trail_ends_with_its_episode():
    single = PlasticMazeEnv(render_mode="rgb_array")
    single.reset(seed=0)
    first = single.render()
    single.step(0)
    single.reset(seed=0)
    np.testing.assert_array_equal(single.render(), first)
    batch = PlasticMazeVectorEnv(1, render_mode="rgb_array", episode_length=3)
    batch.reset(seed=0)
    np.testing.assert_array_equal(batch.render()[0][40:], first[40:])  # but for the line of numbers
    batch.step(np.array([0]))
    batch.reset(seed=0)
    np.testing.assert_array_equal(batch.render()[0][40:], first[40:])
    for _ in range(3):
        batch.step(np.array([0]))  # the third step begins the next episode by itself
    alone = maze_scene(batch.dynamics.layout, 3, [batch.state])
    np.testing.assert_array_equal(batch.render()[0], draw_picture(alone, 384))


@pytest.mark.parametrize("kind", [PlasticMazeEnv, PlasticMazeVectorEnv])
def test_rendering_out_of_turn(kind):
    with pytest.raises(ResetNeeded, match="call reset"):
        kind(render_mode="ansi").render()
    env = kind()
    env.reset()
    with pytest.warns(UserWarning, match="needs a render_mode"):
        assert env.render() is None


def test_a_window_shows_every_step(monkeypatch):
    pygame = pytest.importorskip("pygame", reason="windows need the extra 'render'")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = gym.make("PlasticMaze-v0", render_mode="human", render_size=128)
    env.reset(seed=0)
    shown = pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)
    twin = PlasticMazeEnv(render_mode="rgb_array", render_size=128)
    twin.reset(seed=0)
    np.testing.assert_array_equal(shown, twin.render())
    env.step(0)
    assert not np.array_equal(shown.swapaxes(0, 1), pygame.surfarray.array3d(pygame.display.get_surface()))
    env.close()
    assert not pygame.display.get_init()


def test_a_missing_pygame_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pygame", None)
    env = PlasticMazeEnv(render_mode="human")
    with pytest.raises(DependencyNotInstalled, match=r'pip install "plasticrl\[render\]"'):
        env.reset()


def test_record_video(tmp_path):
    pytest.importorskip("moviepy", reason="videos need the extra 'render'")
    env = gym.make("PlasticMaze-v0", render_mode="rgb_array", render_size=128, episode_length=6)
    env = RecordVideo(env, str(tmp_path / "videos"), disable_logger=True)
    env.reset(seed=0)
    over = False
    while not over:
        over = env.step(0)[2]
    env.close()
    assert [path.stat().st_size > 0 for path in tmp_path.glob("videos/*.mp4")] == [True]
