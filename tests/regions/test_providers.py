"""Providers by name: those of scikit-image, maps from files; what is kept on disk, and when it is believed."""

import sys

import cv2
import numpy as np
import pytest
import torch
from stub_regions import StubRegions, rectangles

from sclip_seg.errors import InputError
from sclip_seg.regions.provider import RegionProvider
from sclip_seg.regions.regions import VOID, Regions, SoftRegions
from sclip_seg.registry import REGIONS, one_of_each

NAMES = {"felzenszwalb", "slic", "files", "sam2", "sam2_8", "mask2former", "maskformer", "eomt"}


@pytest.fixture
def picture() -> np.ndarray:
    """Four plain quarters, (40, 60, 3)."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20, :30], pixels[:20, 30:], pixels[20:, :30], pixels[20:, 30:] = (
        (200, 30, 30),
        (30, 200, 30),
        (30, 30, 200),
        (90, 90, 90),
    )
    return pixels


def test_all_are_there_by_name():
    assert {*REGIONS.module_dict} >= NAMES


PLAIN = [dict(type="felzenszwalb", sigma=0.0, min_size=5), dict(type="slic", segments=4, compactness=1.0)]


@pytest.mark.parametrize("config", PLAIN, ids=str)
def test_plain_quarters_are_four_regions(config, picture):
    found = REGIONS.build(config | dict(folder=None))(picture)
    assert found.size == (40, 60)
    assert found.count == 4
    for rows in (slice(2, 18), slice(22, 38)):
        for columns in (slice(2, 28), slice(32, 58)):
            assert len(found.ids[rows, columns].unique()) == 1


@pytest.mark.parametrize("name", ["felzenszwalb", "slic"])
def test_a_grey_picture_of_one_colour_and_one_of_one_pixel(name):
    source = REGIONS.build(dict(type=name, folder=None))
    assert source(np.full((30, 30, 3), 77, np.uint8)).ids.min() >= 0
    assert source(np.zeros((1, 1, 3), np.uint8)).size == (1, 1)


def test_settings_are_held_against_their_kinds():
    with pytest.raises(InputError, match=r"felzenszwalb.scale is 'large'"):
        REGIONS.build(dict(type="felzenszwalb", scale="large"))
    with pytest.raises(InputError, match="above 0"):
        REGIONS.build(dict(type="slic", compactness=0))


def test_without_the_library_a_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(InputError, match=r"need scikit-image: pip install \.\[regions\]"):
        REGIONS.build(dict(type="slic"))


def test_of_one_config_there_is_one_provider():
    configs = "felzenszwalb", dict(type="felzenszwalb"), dict(type="felzenszwalb", scale=9)
    with one_of_each():
        one, two, other = (REGIONS.build(config) for config in configs)
    assert one is two
    assert one is not other


class Counted(StubRegions):
    """Keeps what it finds."""

    keeps = True

    def __init__(self, folder: str, **settings: object) -> None:
        super().__init__(**settings)
        self.folder = folder


def test_regions_are_kept_by_pixels_and_settings(tmp_path, picture):
    source = Counted(str(tmp_path))
    first = source(picture)
    assert torch.equal(source(picture).ids, first.ids)
    assert source.asked == 1
    assert source.lies_there(picture)
    assert not source.lies_there(picture[:, ::-1])
    assert not source.lies_there(picture.reshape(60, 40, 3))
    other = Counted(str(tmp_path), seed=1)
    assert not other.lies_there(picture)
    again = Counted(str(tmp_path))
    assert torch.equal(again(picture).ids, first.ids)
    assert again.asked == 0
    assert {path.suffix for path in tmp_path.rglob("*.*") if path.is_file()} == {".png"}


@pytest.mark.parametrize("damage", [b"", b"\x89PNG no more", "half", "another size", "8 bits"])
def test_a_file_about_which_anything_is_odd_is_not_believed(damage, tmp_path, picture):
    source = Counted(str(tmp_path))
    wanted = source(picture).ids
    (path,) = [*tmp_path.rglob("*.png")]
    if damage == "half":
        damage = path.read_bytes()[: path.stat().st_size // 2]
    elif damage == "another size":
        damage = cv2.imencode(".png", np.zeros((3, 4), np.uint16))[1].tobytes()
    elif damage == "8 bits":
        damage = cv2.imencode(".png", np.zeros((40, 60), np.uint8))[1].tobytes()
    path.write_bytes(damage)
    assert torch.equal(source(picture).ids, wanted)
    assert source.asked == 2
    assert source.lies_there(picture)


def test_soft_masks_are_kept_as_safetensors(tmp_path, picture):
    class Soft(Counted):
        def find(self, picture, name=""):
            self.asked += 1
            generator = torch.Generator().manual_seed(0)
            embeddings = torch.randn(3, 7, generator=generator)
            return SoftRegions(torch.randn(3, 10, 15, generator=generator), (40, 60), torch.rand(3), embeddings)

    source = Soft(str(tmp_path))
    first, again = source(picture), source(picture)
    assert source.asked == 1
    torch.testing.assert_close(again.logits, first.logits, rtol=0, atol=2e-3)
    torch.testing.assert_close(again.objectness, first.objectness)
    torch.testing.assert_close(again.embeddings, first.embeddings, rtol=0, atol=2e-3)
    (path,) = [*tmp_path.rglob("*.safetensors")]
    path.write_bytes(path.read_bytes()[:50])
    source(picture)
    assert source.asked == 2


def test_a_folder_that_cannot_be_written_costs_nothing(tmp_path, picture):
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="regions are not kept for the next run"):
        assert Counted(str(tmp_path / "file"))(picture).count


def test_what_is_told_names_settings_digest_and_training():
    assert StubRegions(seed=3).told == "StubRegions(count=6,seed=3,void=True)#stub[trained on nothing]"
    with pytest.raises(NotImplementedError):
        _ = RegionProvider(None).digest


@pytest.fixture
def maps(tmp_path):
    """A folder with the map of `one`, 16 bits, and below it that of `two`, 8 bits."""
    ids = rectangles(40, 60).numpy()
    (tmp_path / "maps" / "below").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "maps" / "one.png"), (300 * (ids + 1)).astype(np.uint16))
    cv2.imwrite(str(tmp_path / "maps" / "below" / "two.png"), (ids + 1).astype(np.uint8))
    return tmp_path / "maps"


def test_maps_from_files(maps, picture):
    source, ids = REGIONS.build(dict(type="files", maps=str(maps))), rectangles(40, 60)
    assert torch.equal(source(picture, "two").ids, torch.where(ids == VOID, VOID, ids + 1))
    assert source(picture, "one").ids.max() == 300 * (int(ids.max()) + 1)
    full = REGIONS.build(dict(type="files", maps=str(maps), void=None))
    assert full(picture, "two").ids.min() == 0
    with pytest.raises(InputError, match="no map of regions for the picture three"):
        source(picture, "three")
    with pytest.raises(InputError, match="this picture has none"):
        source(picture)
    with pytest.raises(InputError, match=r"of two, are 40 x 60 .* 20 x 60"):
        source(picture[:20], "two")
    assert source.store is None


def test_the_digest_of_files_is_that_of_what_is_in_them(maps):
    def digest():
        return REGIONS.build(dict(type="files", maps=str(maps), trained_on="COCO's entities")).told

    before = digest()
    assert before.endswith("[trained on COCO's entities]")
    (maps / "one.png").write_bytes((maps / "below" / "two.png").read_bytes())
    assert digest() != before


def test_folders_that_hold_no_maps_or_two_of_a_name(maps, tmp_path):
    with pytest.raises(InputError, match="no maps of regions"):
        REGIONS.build(dict(type="files", maps=str(tmp_path / "nowhere")))
    (maps / "two.png").write_bytes((maps / "one.png").read_bytes())
    with pytest.raises(InputError, match="two maps of regions have one name"):
        REGIONS.build(dict(type="files", maps=str(maps)))


def test_a_map_with_three_bands_is_refused(maps, picture):
    cv2.imwrite(str(maps / "one.png"), picture)
    with pytest.raises(InputError, match="no picture of one band"):
        REGIONS.build(dict(type="files", maps=str(maps)))(picture, "one")


def test_too_many_regions_are_refused():
    with pytest.raises(InputError, match="numbered from 0 to 65534"):
        Regions(torch.arange(300 * 300).view(300, 300).int())
