import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedward.common.errors import ConfigError
from fedward.sims.cameras import CAMERAS, CHUNK, Camera, camera_named, photograph

Images = NDArray[np.uint8]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def noise_images(n: int, seed: int = 0) -> Images:
    return rng(seed).integers(0, 256, (n, 48, 48), dtype=np.uint8)


def flat_images(grey: int, n: int = 3) -> Images:
    return np.full((n, 48, 48), grey, np.uint8)


ALL_GREYS = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)


def test_clean_is_the_identity() -> None:
    images = noise_images(5)

    assert np.array_equal(photograph(images, CAMERAS["clean"], rng()), images)


def test_the_pipeline_itself_keeps_every_grey_level() -> None:
    noticed = Camera(contrast=1.0 + 1e-9)  # not equal to the clean camera, so nothing is skipped

    assert np.array_equal(photograph(ALL_GREYS, noticed, rng()), ALL_GREYS)


@pytest.mark.parametrize("name", CAMERAS)
def test_cameras_are_pure_seeded_and_keep_shape_and_type(name: str) -> None:
    images = noise_images(7)
    images.setflags(write=False)
    before = images.copy()

    taken = photograph(images, CAMERAS[name], rng(1))

    assert taken.shape == images.shape
    assert taken.dtype == np.uint8
    assert np.array_equal(images, before)
    assert np.array_equal(photograph(images, CAMERAS[name], rng(1)), taken)
    assert (name == "clean") == np.array_equal(taken, images)


@pytest.mark.parametrize("name", CAMERAS)
def test_an_image_without_noise_does_not_depend_on_its_neighbours(name: str) -> None:
    images = noise_images(4)
    camera = CAMERAS[name]
    together, alone = photograph(images, camera, rng()), photograph(images[2:3], camera, rng())

    assert np.array_equal(together[2:3], alone) == (camera.noise == 0)


def test_no_images_give_no_images() -> None:
    assert photograph(noise_images(0), CAMERAS["smeared-lens"], rng()).shape == (0, 48, 48)


def test_chunks_do_not_change_the_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    images = noise_images(10)
    whole = photograph(images, CAMERAS["night-shift"], rng())
    assert len(images) < CHUNK
    monkeypatch.setattr("fedward.sims.cameras.CHUNK", 3)

    assert np.array_equal(photograph(images, CAMERAS["night-shift"], rng()), whole)


def test_inverting_twice_gives_the_image_back() -> None:
    negative = CAMERAS["negative"]
    once = photograph(ALL_GREYS, negative, rng())

    assert np.array_equal(once, 255 - ALL_GREYS)
    assert np.array_equal(photograph(once, negative, rng()), ALL_GREYS)


def test_gamma_by_hand() -> None:
    taken = photograph(flat_images(51), Camera(gamma=2.0), rng())

    assert (taken == 10).all()  # 255 * (51 / 255) ** 2 = 10.2


@given(st.integers(1, 254))
def test_bright_window_brightens_and_dim_ward_darkens(grey: int) -> None:
    images = flat_images(grey, 1)

    assert photograph(images, CAMERAS["bright-window"], rng())[0, 0, 0] >= grey
    assert photograph(images, CAMERAS["dim-ward"], rng())[0, 0, 0] <= grey


def test_contrast_moves_greys_towards_the_middle() -> None:
    images = np.array([[[0, 255]]], np.uint8)

    taken = photograph(images, Camera(contrast=0.4), rng())

    assert taken.tolist() == [[[76, 178]]]  # 127.5 -+ 0.4 * 127.5 = 76.5 and 178.5, to even


def test_blur_spreads_a_point_and_keeps_its_light() -> None:
    images = flat_images(0, 1)
    images[0, 24, 24] = 255

    taken = photograph(images, Camera(blur=1.0), rng())[0].astype(int)

    assert taken[24, 24] == pytest.approx(255 / (2 * np.pi), abs=1)  # the Gaussian's peak
    assert taken[24, 23] == taken[23, 24] == taken[24, 25] > taken[23, 23] > 0
    assert abs(taken.sum() - 255) <= 15


def test_blur_does_not_reach_other_images() -> None:
    images = flat_images(0, 3)
    images[1] = 255

    taken = photograph(images, CAMERAS["smeared-lens"], rng())

    assert [int(image.max()) for image in taken] == [0, 255, 0]


def test_noise_has_the_stated_spread_and_is_new_for_every_image() -> None:
    taken = photograph(flat_images(128, 20), Camera(noise=20), rng()).astype(float)

    assert taken.mean() == pytest.approx(128, abs=0.5)
    assert taken.std() == pytest.approx(20, rel=0.02)
    assert not np.array_equal(taken[0], taken[1])


def test_different_generators_give_different_noise() -> None:
    images = flat_images(128)
    grainy = CAMERAS["grainy-sensor"]

    assert not np.array_equal(
        photograph(images, grainy, rng(1)), photograph(images, grainy, rng(2))
    )


def test_a_quarter_turn_is_counter_clockwise() -> None:
    image = noise_images(1)

    taken = photograph(image, Camera(rotation=90.0), rng())

    assert np.array_equal(taken[0], np.rot90(image[0]))


def test_crop_enlarges_the_centre() -> None:
    image = flat_images(0, 1)
    image[0, 12:36, 12:36] = 200  # the central half of each side

    taken = photograph(image, Camera(crop=0.5), rng())[0]

    assert (taken[1:-1, 1:-1] == 200).all()


def test_an_unknown_camera_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown camera 'dim-wrad'; did you mean 'dim-ward'\?"):
        camera_named("dim-wrad")
    with pytest.raises(ConfigError, match=r"unknown camera 'xq'; choose one of clean, "):
        camera_named("xq")
    assert camera_named("dim-ward") is CAMERAS["dim-ward"]
