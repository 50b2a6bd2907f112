import shutil

import numpy as np
import pytest
from PIL import Image

from plasticrl.envs.data import omniglot as omniglot_images
from plasticrl.envs.data.download import DataError
from plasticrl.envs.data.omniglot import OmniglotLayout, OmniglotPart, load_omniglot, source_key

SMALL = OmniglotLayout(
    parts=(OmniglotPart("images_background", 2, 1, 5), OmniglotPart("images_evaluation", 1, 6, 8)),
    drawings=20,
    side=105,
)
FIRST = "images_background/Greek/character02/0002_07.png"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PLASTICRL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def cannot_read(*args, **kwargs):
    raise AssertionError("the sources were read although the cache is good")


def test_reads_archives_and_folders_alike(miniature_omniglot, cache):
    for place in (miniature_omniglot.archives, miniature_omniglot.trees):
        found = load_omniglot(105, place, expected=SMALL)
        # At full size nothing is resized: every pixel must be there.
        np.testing.assert_array_equal(found.images, 255 * miniature_omniglot.content["ink"].astype(np.uint8))
        assert found.alphabets.tolist() == ["Greek"] * 3 + ["Japanese_(hiragana)"] * 2 + ["Ge_ez"] * 3
    assert len(list(cache.iterdir())) == 2


def test_resizes_and_keeps_in_the_cache(miniature_omniglot, cache, monkeypatch):
    first = load_omniglot(31, miniature_omniglot.archives, expected=SMALL)
    assert first.images.shape == (8, 20, 31, 31)
    paper = Image.fromarray(np.where(miniature_omniglot.content["ink"][4, 6], 0, 255).astype(np.uint8))
    resized = paper.resize((31, 31), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(first.images[4, 6], 255 - np.asarray(resized))
    (file,) = cache.iterdir()
    monkeypatch.setattr(omniglot_images, "read_files", cannot_read)
    again = load_omniglot(31, miniature_omniglot.archives, expected=SMALL)
    for one, two in zip(first, again, strict=True):
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(one, two)
    assert list(cache.iterdir()) == [file]


def rewritten(**changes):
    """Damage that leaves a readable file whose arrays are not the right ones."""

    def spoil(file):
        with np.load(file) as stored:
            arrays = {name: stored[name] for name in stored.files}
        np.savez(file, **{name: array for name, array in (arrays | changes).items() if array is not None})

    return spoil


def flipped(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0x10
    file.write_bytes(content)


def pickled(file):
    np.savez(file, images=np.array([{}], dtype=object), alphabets=np.zeros(8, "U5"), key=np.array(""))


@pytest.mark.parametrize(
    "spoil",
    [
        flipped,
        pickled,
        lambda file: file.write_bytes(file.read_bytes()[:-100]),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(b"not an npz"),
        rewritten(key=np.array("another's")),
        rewritten(images=np.zeros((8, 20, 30, 30), np.uint8)),
        rewritten(images=np.zeros((8, 20, 31, 31))),
        rewritten(alphabets=np.zeros(7, "U5")),
        rewritten(alphabets=np.zeros(8)),
        rewritten(alphabets=None),
    ],
)
def test_builds_a_bad_cache_anew(miniature_omniglot, cache, spoil):
    expected = load_omniglot(31, miniature_omniglot.archives, expected=SMALL)
    (file,) = cache.iterdir()
    spoil(file)
    for one, two in zip(
        load_omniglot(31, miniature_omniglot.archives, expected=SMALL), expected, strict=True
    ):
        np.testing.assert_array_equal(one, two)
    with np.load(file) as stored:
        np.testing.assert_array_equal(stored["images"], expected.images)
    assert list(cache.iterdir()) == [file]


@pytest.mark.parametrize("kind", ["archives", "trees"])
def test_notices_that_the_files_changed(miniature_omniglot, cache, kind, pin):
    before = load_omniglot(31, getattr(miniature_omniglot, kind), expected=SMALL)
    drawing = miniature_omniglot.trees / FIRST
    shutil.copy(drawing.with_name("0002_08.png"), drawing)
    if kind == "archives":
        archive = miniature_omniglot.archives / "images_background"
        shutil.make_archive(str(archive), "zip", miniature_omniglot.trees, "images_background")
        pin("omniglot", miniature_omniglot.archives)
    after = load_omniglot(31, getattr(miniature_omniglot, kind), expected=SMALL)
    np.testing.assert_array_equal(after.images[1, 6], before.images[1, 7])
    assert (before.images[1, 6] != before.images[1, 7]).any()


@pytest.mark.parametrize("kind", ["archives", "trees"])
@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, r"images_background(\.zip)? lacks 1 drawings \(0002_07.png\)"),
        (b"no png", rf"images_background(\.zip)?: '{FIRST}' is not a PNG"),
    ],
)
def test_names_the_drawing_at_fault_and_leaves_nothing(miniature_omniglot, cache, kind, content, text, pin):
    drawing = miniature_omniglot.trees / FIRST
    drawing.unlink()
    if content is not None:
        drawing.write_bytes(content)
    if kind == "archives":
        archive = miniature_omniglot.archives / "images_background"
        shutil.make_archive(str(archive), "zip", miniature_omniglot.trees, "images_background")
        pin("omniglot", miniature_omniglot.archives)
    with pytest.raises(DataError, match=text):
        load_omniglot(31, getattr(miniature_omniglot, kind), expected=SMALL)
    assert not cache.exists()


def test_a_miniature_is_not_taken_for_the_dataset(miniature_omniglot, cache):
    with pytest.raises(DataError, match="images_background has 19280 drawings"):
        load_omniglot(31, miniature_omniglot.archives)
    assert not cache.exists()


@pytest.mark.parametrize(("size", "text"), [(0, "at least 1, got 0"), (106, "at most 105, .* got 106")])
def test_refuses_sizes_that_cannot_be(miniature_omniglot, size, text):
    with pytest.raises(ValueError, match=f"size must be .*{text}"):
        load_omniglot(size, miniature_omniglot.archives, expected=SMALL)


def test_a_drawing_that_is_far_too_large_is_not_read(miniature_omniglot, cache):
    (miniature_omniglot.trees / FIRST).write_bytes(bytes(2**16 + 1))
    with pytest.raises(
        DataError, match=rf"{FIRST} cannot be read \(65,537 bytes long, but .* at most 65,536"
    ):
        load_omniglot(31, miniature_omniglot.trees, expected=SMALL)


def test_a_source_that_cannot_be_read_is_named(miniature_omniglot, cache, tmp_path):
    drawing = miniature_omniglot.trees / FIRST
    drawing.unlink()
    drawing.symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"0002_07\.png cannot be read \(No such file"):
        load_omniglot(31, miniature_omniglot.trees, expected=SMALL)
    with pytest.raises(DataError, match=r"gone\.zip cannot be read \(No such file"):
        source_key([tmp_path / "gone.zip"], "")


def test_a_folder_that_cannot_be_read_is_not_passed_over(miniature_omniglot, cache, monkeypatch):
    def walk(folder, onerror=None):
        onerror(PermissionError(13, "Permission denied", str(folder)))
        return []

    monkeypatch.setattr("os.walk", walk)
    with pytest.raises(DataError, match=r"images_background cannot be read \(Permission denied\)"):
        source_key([miniature_omniglot.trees / "images_background"], "")


def test_a_cache_that_cannot_be_written_tells_the_way_out(miniature_omniglot, cache):
    cache.write_text("a file where the folder should be")
    with pytest.raises(OSError, match=r"set PLASTICRL_CACHE to another folder.*omniglot-31-"):
        load_omniglot(31, miniature_omniglot.archives, expected=SMALL)
