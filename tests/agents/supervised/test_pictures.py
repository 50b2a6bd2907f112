from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from stable_baselines3.common.callbacks import BaseCallback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from plasticrl.agents import EpisodeLearner, EpisodePictures
from plasticrl.agents.common.tensorboard import matrix_picture
from plasticrl.agents.supervised.network import to_tensors
from plasticrl.agents.supervised.pictures import one_shot_episodes, reconstructions
from plasticrl.envs.supervised.one_shot import OneShotTask
from plasticrl.envs.supervised.patterns import PatternsTask
from plasticrl.envs.supervised.task import Episode, EpisodeTask

PATTERNS = PatternsTask(n_bits=12, n_patterns=2, n_cycles=1, steps_on=3, steps_off=1, test_steps=1)


POOLED = OneShotTask(
    np.random.default_rng(0).integers(0, 256, (6, 3, 31, 31), dtype=np.uint8), n_way=2, pool=4
)


class Stripes(EpisodeTask):
    """Two random images with their labels, then one of them without."""

    n_classes = 2
    input_shape = (31, 31)
    steps = 3

    def sample(self, batch_size: int, rng: np.random.Generator) -> Episode:
        images = rng.random((2, batch_size, 31, 31), dtype=np.float32)
        query = rng.integers(0, 2, batch_size)
        inputs = np.concatenate([images, images[query, np.arange(batch_size)][None]])
        labels = np.repeat([[0], [1], [-1]], batch_size, axis=1)
        return Episode(inputs, None, labels, query, labels < 0, None)


def learner(task: EpisodeTask, core: str = "plastic", folder: Path | None = None) -> EpisodeLearner:
    log = None if folder is None else str(folder)
    return EpisodeLearner(core, task, batch_size=2, seed=0, device="cpu", tensorboard_log=log)  # type: ignore[arg-type]


def events(model: EpisodeLearner, folder: Path) -> EventAccumulator:
    model.logger.close()
    return EventAccumulator(str(folder / "EpisodeLearner_1"), size_guidance={"images": 0}).Reload()


@pytest.mark.parametrize(
    ("task", "name"),
    [(PATTERNS, "reconstructions"), (Stripes(), "one_shot"), (POOLED, "one_shot")],
    ids=["patterns", "one_shot", "pooled"],
)
@pytest.mark.parametrize("core", ["plastic", "homogeneous", "rnn"])
def test_pictures_at_intervals(task: EpisodeTask, name: str, core: str, tmp_path: Path) -> None:
    model = learner(task, core, tmp_path).learn(10, EpisodePictures(every=4, n_episodes=3))
    found = events(model, tmp_path)
    plastic = {"plastic/alpha", "plastic/trace"} if core != "rnn" else set()
    assert set(found.Tags()["images"]) == {f"episodes/{name}", "plastic/w"} | plastic
    for tag in found.Tags()["images"]:
        pictures = found.Images(tag)
        assert [picture.step for picture in pictures] == [4, 8]
        assert Image.open(BytesIO(pictures[0].encoded_image_string)).mode == "RGB"


def test_pictures_go_on_at_the_same_episodes_and_change_nothing(tmp_path: Path) -> None:
    model, plain = learner(PATTERNS, folder=tmp_path), learner(PATTERNS)
    pictures = EpisodePictures(every=4)
    model.learn(6, pictures).learn(6, pictures, reset_num_episodes=False)
    plain.learn(12)
    steps = [picture.step for picture in events(model, tmp_path).Images("plastic/w")]
    assert sorted(steps) == [4, 8, 12]  # two files, read by name: a process's tenth before its ninth
    pairs = zip(model.network.parameters(), plain.network.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


class Recorded(PatternsTask):
    """Remembers what was drawn."""

    def __init__(self) -> None:
        super().__init__(n_bits=12, n_patterns=2, n_cycles=1, steps_on=3, steps_off=1, test_steps=1)
        self.drawn: list[Episode] = []

    def sample(self, batch_size: int, rng: np.random.Generator) -> Episode:
        self.drawn.append(super().sample(batch_size, rng))
        return self.drawn[-1]


def test_what_is_shown_is_never_what_the_same_seed_trains_on(tmp_path: Path) -> None:
    """Batch and pictures have the same size and seed: from one stream they would be the same."""
    task = Recorded()
    learner(task, folder=tmp_path).learn(4, EpisodePictures(every=2, n_episodes=2, seed=0))
    trained, shown, trained_again, shown_again = (episode.target for episode in task.drawn)
    np.testing.assert_array_equal(shown, shown_again)
    assert not any(np.array_equal(shown, other) for other in (trained, trained_again))


def test_the_trace_is_that_before_the_judged_step(tmp_path: Path) -> None:
    """One step fewer than the episode: not the trace at its end."""
    task = Recorded()
    model = learner(task, folder=tmp_path)
    model.learn(2, EpisodePictures(every=2, n_episodes=1))
    shown = events(model, tmp_path).Images("plastic/trace")[0].encoded_image_string
    episode = task.drawn[-1]
    traces = []
    for steps in (PATTERNS.steps - 1, PATTERNS.steps):
        part = episode._replace(
            inputs=episode.inputs[:steps],
            clamp=episode.inputs[:steps] != 0,
            target_mask=episode.target_mask[:steps],
        )
        with torch.no_grad():
            traces.append(matrix_picture(model.network(to_tensors(part))[1].trace[0]))
    picture = np.asarray(Image.open(BytesIO(shown)))
    np.testing.assert_array_equal(picture, traces[0])
    assert not np.array_equal(picture, traces[1])


def test_without_tensorboard_nothing_is_drawn() -> None:
    assert learner(PATTERNS).learn(4, EpisodePictures(every=2)).num_episodes == 4


def test_target_query_and_output_stand_side_by_side() -> None:
    target = np.array([[1, -1, 1, -1, 1, -1]], np.float32)
    shown = np.array([[1, -1, 1, 0, 0, 0]], np.float32)
    output = np.array([[1, -1, 1, -1, 0.5, 9]], np.float32)
    picture = reconstructions(target, shown, output)
    assert picture.shape[2] == 3
    cell = picture.shape[1] // 3
    side = (cell - 8) // 3  # 6 elements are 2 rows of 3
    assert picture.shape[0] == 2 * side + 8
    centers = picture[4 + side // 2 :: side, :, 0][:2]
    shades = [centers[:, k * cell + 4 + side // 2 :: side][:, :3].ravel().tolist() for k in range(3)]
    assert shades == [
        [255, 0, 255, 0, 255, 0],
        [255, 0, 255, 128, 128, 128],
        [255, 0, 255, 0, 191, 255],
    ]


def test_a_right_answer_is_green_and_a_wrong_one_red() -> None:
    episode = Stripes().sample(2, np.random.default_rng(0))
    target = np.asarray(episode.target)
    picture = one_shot_episodes(episode, np.array([target[0], 1 - target[1]])).astype(int)
    height, width = picture.shape[0] // 2, picture.shape[1] // 3
    green, red = picture[..., 1] - picture[..., 0] > 60, picture[..., 0] - picture[..., 1] > 60
    for row, (right, wrong) in enumerate([(green, red), (red, green)]):
        cell = slice(row * height, (row + 1) * height)
        assert right[cell, 2 * width :].any()
        assert not right[cell, : 2 * width].any()  # only the query's answer is judged
        assert not wrong[cell].any()


@pytest.mark.parametrize("options", [{"every": 0}, {"every": 4, "n_episodes": 0}, {"every": 4, "seed": -1}])
def test_arguments_are_checked_by_name(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=list(options)[-1]):
        EpisodePictures(**options)


def test_it_is_an_sb3_callback() -> None:
    assert isinstance(EpisodePictures(4), BaseCallback)
