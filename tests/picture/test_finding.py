"""Words found in pictures of the toy world: what samples are, and what is asked for, dropped and left out."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import sclip_seg
from sclip_seg.errors import InputError
from sclip_seg.picture.finding import finder as module
from sclip_seg.picture.finding.finder import AutoWords, Finder, auto_words
from sclip_seg.picture.finding.samples import Samples, feature_maps, means_over, neutral, samples_of
from sclip_seg.regions.regions import Regions
from sclip_seg.toy.world import GROUNDS, THINGS, draw


@pytest.fixture(scope="module")
def model():
    return sclip_seg.load("sclip", "toy", device="cpu").model


@pytest.fixture(scope="module")
def scene(model):
    """Network input and sample of a scene of 72 x 96."""
    pixels = draw(1, 4, 72, 96, count=(4, 6)).image
    (image,), (sample,) = model.data_preprocessor.of_pictures([pixels[..., ::-1].copy()])
    return image, sample


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def words(tmp_path, *names):
    (tmp_path / "list.txt").write_text("\n".join(names))
    return str(tmp_path / "list.txt")


def test_a_vote_is_the_best_word_of_the_stitched_scores(model, scene, tmp_path):
    image, sample = scene
    finder = Finder(model, AutoWords(words=words(tmp_path, *THINGS, *GROUNDS)))
    (samples,) = finder.look([image], [sample])
    torch.testing.assert_close(samples.features.norm(dim=1), torch.ones(len(samples.area)))
    assert samples.area.sum() == pytest.approx(72 * 96)
    side = model.backbone.patch
    model.templates, kept = ("a photo of a {}.",), model.templates
    model.set_vocabulary([[word] for word in finder.words])
    model.encoded, known = {}, model.encoded
    model.prepare()
    (picture,) = model.look([image], [sample])
    model.templates, model.encoded = kept, known
    scores = picture.scored(picture.gathered).maps((image.shape[1] // side, image.shape[2] // side)).dense()
    assert module.votes(samples.features, finder.bank()).tolist() == scores.flatten(1).argmax(0).tolist()


def test_words_are_found_and_their_shares_are_of_all_pixels(model, scene):
    finder = Finder(model, AutoWords())
    looked = finder.look(*([part] for part in scene))
    found = finder.find(looked)
    assert found == Finder(model, AutoWords(), finder.banks).find(looked)
    assert sum(word.share for word in found.words) == pytest.approx(1)
    assert [word.share for word in found.words] == sorted((word.share for word in found.words), reverse=True)
    assert all(0 <= word.certainty <= 1 for word in found.words)
    assert len({*THINGS, *GROUNDS} & {word.name for word in found.words}) >= 3
    assert found.told.startswith("auto[benchmarks#")
    assert found.plain()["words"][0]["name"] == found.words[0].name in str(found)

    first = found.words[0].name
    other = Finder(model, AutoWords(also=["zebra; stripes", first], drop=[first.upper()], least=0.3), finder.banks)
    changed = other.find(looked)
    assert ["zebra", "stripes"] in changed.classes
    assert {first, "zebra"} <= {word.name for word in changed.words}
    assert len(changed.words) < len(found.words)
    assert changed.told != found.told
    alone = Finder(model, AutoWords(least=1.0, clusters=3), finder.banks).find(looked)
    assert len(alone.words) == 1


def test_definitions_decide_last(model, scene, tmp_path, monkeypatch):
    finder = Finder(model, AutoWords(words="imagenet", definitions=True))
    encoded = []
    monkeypatch.setattr(Finder, "bank", lambda self: self._encoded(self.list))
    small = module.WordList("few", ("lemon", "tomato", "sand"), {"lemon": ("yellow fruit",), "sand": ("a", "b")})
    finder.list = finder.kept = small
    finder.words = list(small.words)
    real = Finder._encoded

    def spy(self, words, templates=None):
        encoded.append((words.words, templates))
        return real(self, words, templates)

    monkeypatch.setattr(Finder, "_encoded", spy)
    found = finder.find(finder.look(*([part] for part in scene)))
    assert {word.name for word in found.words} <= {*small.words}
    assert encoded[1] == (tuple(sorted({"yellow fruit", "tomato", "a", "b"} & {*encoded[1][0]})), ("{}",))
    assert "definitions=yes" in found.told
    with pytest.raises(InputError, match="definitions are known of the words of 'imagenet'"):
        Finder(model, AutoWords(definitions=True))


def test_samples_of_regions_are_means_over_them(model, scene):
    image, sample = scene
    ids = torch.from_numpy(np.kron(np.array([[-1, 0, 2], [5, 5, 2]]), np.ones((36, 32)))).int()
    neutral(model)
    sample.set_data({"original": torch.zeros(3, 72, 96, dtype=torch.uint8)})
    found = samples_of(model, image, sample, lambda pixels: Regions(ids))
    maps = feature_maps(model, image, (72, 96)).dense().double()
    expected = torch.stack([F.normalize(maps[:, ids == number].mean(1), dim=0) for number in (0, 2, 5)])
    torch.testing.assert_close(found.features.double(), expected, rtol=0, atol=1e-5)
    assert found.area.tolist() == [36 * 32, 2 * 36 * 32, 2 * 36 * 32]
    with pytest.raises(InputError, match="full size"):
        samples_of(model, image, sample.new(data={}, metainfo={}), lambda pixels: Regions(ids))
    assert means_over(feature_maps(model, image, (72, 96)), torch.zeros(72, 96).long(), 1).shape[0] == 1


def test_many_samples_are_thinned_and_stand_for_all():
    samples = Samples(torch.eye(10), torch.arange(10.0))
    few = samples.thinned(4)
    assert len(few.area) == 4
    assert few.area.sum() == pytest.approx(45)
    assert samples.thinned(10) is samples


def test_what_is_no_way_to_find_words_is_refused(model):
    assert auto_words("auto") == auto_words(" auto ") == AutoWords()
    assert auto_words(["auto"]) is auto_words("cat") is None
    for odd in (dict(least=2), dict(clusters=0), dict(also="cat"), dict(wrods="imagenet")):
        with pytest.raises(InputError):
            AutoWords(**odd)
    with pytest.raises(InputError, match="no picture"):
        Finder(model).find([])
