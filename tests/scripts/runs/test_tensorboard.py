from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from plasticrl.scripts.main import main


@pytest.fixture(scope="module")
def events(trained: Path) -> EventAccumulator:
    return EventAccumulator(str(trained), size_guidance={"images": 0}).Reload()


@pytest.mark.parametrize(
    "tag",
    [
        *["rollout/ep_rew_mean", "rollout/ep_len_mean", "time/fps", "eval/mean_reward", "eval/oracle_share"],
        *["train/policy_loss", "train/value_loss", "train/entropy_loss", "train/loss", "train/grad_norm"],
        *["plastic/eta", "plastic/alpha_abs_mean", "plastic/trace_abs_mean"],
        *["maze/oracle_share", "maze/rewards_found", "maze/wall_hits", "maze/first_reward_step"],
    ],
)
def test_scalars(tag: str, events: EventAccumulator) -> None:
    assert tag in events.Tags()["scalars"]
    steps = [scalar.step for scalar in events.Scalars(tag)]
    assert steps == sorted(steps)
    assert 0 < steps[-1] <= 400


@pytest.mark.parametrize("tag", ["plastic/w", "plastic/alpha", "plastic/trace"])
def test_pictures(tag: str, events: EventAccumulator) -> None:
    pictures = events.Images(tag)
    assert [picture.step for picture in pictures] == [240, 400]
    with Image.open(BytesIO(pictures[-1].encoded_image_string)) as image:
        assert image.size == (200, 200)  # 8 neurons, 25 pixels each
        assert len(image.convert("RGB").getcolors() or []) > 1


def test_animation(events: EventAccumulator) -> None:
    animations = events.Images("maze/episode")
    assert [animation.step for animation in animations] == [240, 400]
    with Image.open(BytesIO(animations[-1].encoded_image_string)) as image:
        assert image.format == "GIF"
        assert 1 < getattr(image, "n_frames", 1) <= 20


def test_hyperparameters(events: EventAccumulator) -> None:
    data = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    found = plugin_data_pb2.HParamsPluginData.FromString(data).session_start_info.hparams
    assert found["core"].string_value == "plastic"
    assert found["agent/learning_rate"].number_value == pytest.approx(3e-3)
    assert found["maze/size"].number_value == 5


def test_every_core_has_the_same_tags(trained: Path, tmp_path: Path, tiny: list[str]) -> None:
    def tags(folder: Path) -> set[str]:
        return {
            tag for tag in EventAccumulator(str(folder)).Reload().Tags()["scalars"] if tag[:8] != "plastic/"
        }

    assert main(["train", "maze", "--core", "lstm", "--seed", "3", "--root", str(tmp_path), *tiny]) == 0
    maybe = {"maze/mean_steps_later"}  # not every episode finds two rewards
    assert tags(tmp_path / "maze" / "lstm" / "seed_3") - maybe == tags(trained) - maybe
