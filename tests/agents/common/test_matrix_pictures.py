import numpy as np
import torch
from stable_baselines3.common.logger import configure

from plasticrl.agents.common.tensorboard import matrix_picture, tensorboard_writer


def test_sign_is_the_color_and_size_its_strength() -> None:
    picture = matrix_picture(torch.tensor([[2.0, 1.0, 0.0, -1.0, -2.0]]))
    red, pale_red, white, pale_blue, blue = picture[0, ::40].astype(int)
    assert white.min() > 240
    assert red[0] > red[2] + 100
    assert blue[2] > blue[0] + 100
    np.testing.assert_allclose(pale_red, (red + white) / 2, atol=1)
    np.testing.assert_allclose(pale_blue, (blue + white) / 2, atol=1)


def test_every_element_is_a_square_of_pixels() -> None:
    matrix = torch.randn(3, 7, generator=torch.Generator().manual_seed(0))
    picture = matrix_picture(matrix)
    side = picture.shape[0] // 3
    assert picture.shape == (3 * side, 7 * side, 3)
    assert picture.dtype == np.uint8
    tiles = picture.reshape(3, side, 7, side, 3)
    assert (tiles == tiles[:, :1, :, :1]).all()


def test_zeros_are_white() -> None:
    assert (matrix_picture(torch.zeros(2, 2)) > 240).all()


def test_logger_without_tensorboard_has_no_writer(tmp_path: object) -> None:
    logger = configure(str(tmp_path), ["csv"])
    assert tensorboard_writer(logger) is None
    logger.close()
