"""`sclip-seg demo` from its arguments to its files: pictures of one's own in, label maps and drawings out.

The stored label maps under `expectations/demo` were written by
`sclip-seg demo PICTURES --backbone toy --classes CLASSES --background GROUNDS` on the pictures beside them.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sclip_seg
from sclip_seg.drawing import overlay, percent
from sclip_seg.show import demo as tool
from sclip_seg.show import demo_command
from sclip_seg.towers import weights
from sclip_seg.toy.world import GROUNDS, THINGS, draw

ROOT = Path(__file__).parents[2]
STORED = Path(__file__).parents[1] / "expectations" / "demo"
CLASSES = ", ".join(THINGS)
BACKGROUND = "; ".join(GROUNDS)
TOY = ("--backbone", "toy", "--device", "cpu")
WORDS = ("--classes", "tomato, leaf; cactus, lemon, button")


def scene(index):
    return draw(7, index, *[(80, 112), (104, 72), (64, 64)][index], count=(4, 6)).image


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """`photos/`, with the scenes a.png, b.jpg and c.PNG, in a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for index, name in enumerate(("a.png", "b.jpg", "c.PNG")):
        Image.fromarray(scene(index)).save(Path("photos", name), quality=95)
    return Path("photos")


def run(*arguments, words=WORDS):
    """Exit status of `sclip-seg demo ARGUMENTS` on the toy backbone."""
    return demo_command.main([*map(str, arguments), *TOY, *words])


def files(folder="work_dirs/pictures"):
    """What lies in a folder, at any depth."""
    return sorted(p.relative_to(folder).as_posix() for p in Path(folder).rglob("*") if p.is_file())


def labels_of(name, folder="work_dirs/pictures"):
    return np.asarray(Image.open(Path(folder, f"{name}.labels.png")))


@pytest.mark.parametrize("method", ["sclip", "gem"])
def test_label_maps_are_the_stored_ones(tmp_path, monkeypatch, method):
    """Of stored pictures, since versions of OpenCV draw scenes a little differently."""
    monkeypatch.chdir(tmp_path)
    for index in range(3):
        shutil.copy(STORED / f"picture_{index}.png", f"{index}.png")
    words = ("--classes", CLASSES, "--background", BACKGROUND)
    assert run("0.png", "1.png", "2.png", "--method", method, words=words) == 0
    for index in range(3):
        stored = Image.open(STORED / f"{method}_{index}.png")
        found = Image.open(f"work_dirs/pictures/{index}.labels.png")
        assert found.mode == stored.mode == "P"
        assert found.getpalette() == stored.getpalette()
        assert len(np.unique(found)) > 3
        assert (np.asarray(found) == np.asarray(stored)).mean() >= 0.999  # the last bits are the CPU's own


def test_files_of_a_picture(photos, capsys):
    assert run(photos / "a.png", "--npz") == 0
    assert files() == ["a.labels.png", "a.npz", "a.overlay.png"]
    (found,) = [sclip_seg.load("sclip", "toy", device="cpu")(photos / "a.png", WORDS[1])]
    np.testing.assert_array_equal(labels_of("a"), found.labels)
    indexed = Image.open("work_dirs/pictures/a.labels.png")
    assert np.array(indexed.getpalette()).reshape(-1, 3)[:4].tolist() == found.palette
    with np.load("work_dirs/pictures/a.npz") as kept:
        assert kept["classes"].tolist() == ["tomato", "leaf", "lemon", "button"]
        np.testing.assert_array_equal(kept["labels"], found.labels)
        assert kept["scores"].dtype == np.float16
        np.testing.assert_allclose(kept["scores"], found.scores, atol=1e-3)
    drawn = np.asarray(Image.open("work_dirs/pictures/a.overlay.png").convert("RGB"))[:80, :112]
    np.testing.assert_array_equal(drawn, overlay(scene(0), found.labels, found.palette))
    first, last = capsys.readouterr().out.splitlines()
    name, share = next(iter(found.shares.items()))
    assert first.startswith(f"photos/a.png: {name} {percent(share)}, ")
    assert last == "written to work_dirs/pictures: NAME.overlay.png, NAME.labels.png, NAME.npz"


def test_background_is_class_0_and_stays_unpainted(photos):
    assert run(photos / "a.png", words=(*WORDS, "--background", BACKGROUND)) == 0
    labels = labels_of("a")
    drawn = np.asarray(Image.open("work_dirs/pictures/a.overlay.png").convert("RGB"))[:80, :112]
    assert 0.01 < (labels == 0).mean() < 0.99
    np.testing.assert_array_equal(drawn[labels == 0], scene(0)[labels == 0])
    assert (drawn != scene(0)).any(axis=-1)[labels > 0].mean() > 0.95


def test_a_benchmark_brings_its_words_and_settings(photos):
    assert run(photos / "a.png", "--npz", words=("--dataset", "toy")) == 0
    found = sclip_seg.load("sclip", "toy", "toy", device="cpu")(photos / "a.png")
    np.testing.assert_array_equal(labels_of("a"), found.labels)
    with np.load("work_dirs/pictures/a.npz") as kept:
        assert tuple(kept["classes"]) == ("background", *THINGS)


def test_settings_reach_the_model(photos):
    options = ("--cfg-options", "model.window.crop=None", "model.precision=bf16")
    assert demo_command.main([str(photos / "a.png"), *TOY, *WORDS, *options]) == 0
    settings = {"model.window.crop": None, "model.precision": "bf16"}
    found = sclip_seg.load("sclip", "toy", device="cpu", options=settings)(photos / "a.png", WORDS[1])
    np.testing.assert_array_equal(labels_of("a"), found.labels)
    run(photos / "a.png", "--out-dir", "plain")
    assert (labels_of("a") != labels_of("a", "plain")).any()


def test_a_second_run_encodes_no_words(photos, monkeypatch):
    assert run(photos / "a.png") == 0
    monkeypatch.setattr(sclip_seg.words.text, "encode_prompts", None)
    assert run(photos / "b.jpg") == 0
    assert files() == [f"{name}.{kind}.png" for name in "ab" for kind in ("labels", "overlay")]


def test_folders_patterns_and_files(photos):
    (photos / "deep").mkdir()
    Image.fromarray(scene(2)).save(photos / "deep" / "d.png")
    (photos / "notes.txt").write_text("no picture")
    (photos / ".hidden.png").write_bytes(b"")
    assert run(photos, "--out-dir", photos) == 0
    results = [f"{name}.{kind}.png" for name in "abc" for kind in ("labels", "overlay")]
    assert set(files(photos)) == {"a.png", "b.jpg", "c.PNG", "deep/d.png", "notes.txt", ".hidden.png", *results}
    again = ("photos", "photos/a.png", "photos/[ab].*g", "--out-dir", "again")
    assert run(*again) == 0
    assert {name for name in files("again") if name.split(".")[0] in "abc"} == set(results)
    assert run("photos/**/d.png", "--out-dir", "star") == 0
    assert files("star") == ["d.labels.png", "d.overlay.png"]
    (photos / "[x].png").write_bytes((photos / "a.png").read_bytes())
    assert run("photos/[x].png", "--out-dir", "odd") == 0
    assert files("odd") == ["[x].labels.png", "[x].overlay.png"]


def test_same_stems_are_told_apart(photos):
    for place in ("x/dog.png", "y/dog.png", "y/dog.jpg", "y/DOG.jpg", "x/cat.png"):
        Path(place).parent.mkdir(exist_ok=True)
        Image.fromarray(scene(2)).save(place)
    Image.fromarray(scene(1)).save("y/dog.png")
    assert run("x", "y") == 0
    assert len(files()) == 10
    np.testing.assert_array_equal(labels_of("y_dog.png").shape, (104, 72))
    np.testing.assert_array_equal(labels_of("x_dog").shape, (64, 64))
    assert "cat.labels.png" in files()


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/dog.jpg"], ["dog"]),
        (["a/dog.jpg", "b/cat.jpg"], ["dog", "cat"]),
        (["a/dog.jpg", "b/dog.jpg"], ["a_dog", "b_dog"]),
        (["a/dog.jpg", "a/dog.png"], ["dog.jpg", "dog.png"]),
        (["a/dog.jpg", "b/dog.jpg", "c/a_dog.jpg"], ["a_dog.jpg", "b_dog", "c_a_dog.jpg"]),
        (["a/Dog.jpg", "b/dog.jpg"], ["a_Dog", "b_dog"]),
        (["a/b_c.jpg", "a_b/c.jpg", "a/b/c.jpg"], ["b_c", "a_b_c.jpg_2", "a_b_c.jpg_3"]),
        ([], []),
    ],
)
def test_names(paths, names):
    assert tool.names_of([Path(path) for path in paths]) == names


def test_a_bad_picture_is_named_and_the_others_are_done(photos, capsys):
    (photos / "a0.png").write_bytes(b"no picture")
    (photos / "b0.png").write_bytes(b"")
    assert run(photos, "nowhere.png", "nothing/*.png") == 2
    told = capsys.readouterr()
    errors = told.err.splitlines()
    assert [line.split(":")[0] for line in errors] == ["error"] * 4
    for line, name in zip(errors, ("nowhere.png", "nothing/*.png", "photos/a0.png", "photos/b0.png"), strict=True):
        assert name in line
    assert "it is empty" in errors[3]
    assert files() == [f"{name}.{kind}.png" for name in "abc" for kind in ("labels", "overlay")]
    assert [line.split(":")[0] for line in told.out.splitlines()[:3]] == [
        "photos/a.png",
        "photos/b.jpg",
        "photos/c.PNG",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere.png", *WORDS), "nowhere.png"),
        (("empty", *WORDS), "empty"),
        (("photos/bad.gif", *WORDS), "cannot be read"),
        (("photos", "--classes", ""), "no words"),
        (("photos", "--classes", "cat,,dog"), "empty word"),
        (("photos", *WORDS, "--background", ";"), "empty word"),
        (("photos", *WORDS, "--method", "sclipp"), "did you mean sclip"),
        (("photos", *WORDS, "--backbone", "toi"), "did you mean toy"),
        (("photos", "--dataset", "voc12"), "did you mean voc21"),
        (("photos", *WORDS, "--cfg-options", "model.logit_skale=3"), "did you mean logit_scale"),
        (("photos", *WORDS, "--cfg-options", "model.window=3"), "error: "),
        (("photos", *WORDS, "--cfg-options", "model.window.crop=many"), "error: "),
        (("photos", *WORDS, "--device", "abacus"), "the device abacus cannot be had"),
        (("photos", *WORDS, "--out-dir", "file"), "is a file"),
        (("photos", *WORDS, "--out-dir", "file/deep"), "error: "),
        (("results/a.overlay.png", "results/a.png", *WORDS, "--out-dir", "results"), "would be overwritten"),
        (("photos", "--classes", ",".join(f"thing {i}" for i in range(257))), "257 classes"),
    ],
)
def test_mistakes_end_in_a_line_and_write_nothing(photos, capsys, monkeypatch, arguments, said):
    Path("empty").mkdir()
    Path("results").mkdir()
    (photos / "bad.gif").write_bytes(b"no picture")
    Path("file").write_text("")
    for name in ("a.overlay.png", "a.png"):
        Image.fromarray(scene(2)).save(Path("results", name))
    before = files(".")
    arguments = [*arguments] if "--backbone" in arguments else [*arguments, "--backbone", "toy"]
    assert demo_command.main(arguments) == 2
    told = capsys.readouterr()
    (line,) = told.err.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert not told.out
    assert [name for name in files(".") if not name.startswith("work_dirs/text_bank")] == before


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("photos",),
        WORDS,
        ("photos", *WORDS, "--dataset", "toy"),
        ("photos", "--dataset", "toy", "--background", "wall"),
    ],
)
def test_usage(photos, capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        demo_command.main([*arguments])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert line.endswith("--help shows the options)")
    assert not Path("work_dirs").exists()


def test_without_weights_it_says_how_to_get_them(photos, capsys, monkeypatch):
    monkeypatch.setattr(weights, "_reachable", lambda source: False)
    monkeypatch.setattr(weights, "_in_hub_cache", lambda source: None)
    assert demo_command.main(["photos", *WORDS]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: the weights 'openai' of ViT-B-16 are not on this machine")
    assert "data/weights/ViT-B-16.openai.safetensors" in told
    assert "Traceback" not in told
    assert not Path("work_dirs").exists()


def test_nothing_is_half_written(photos, monkeypatch, capsys):
    def fail(file, **content):
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", fail)
    assert run(photos / "a.png", "--npz") == 2
    assert "error: no space left on device" in capsys.readouterr().err
    assert files() == []


def test_stopped_and_gone_on_with(photos, monkeypatch, capsys):
    """Ctrl-C in the second of three pictures: the first one's results stay, and --resume does the others alone."""
    write, written = tool.write, []

    def stop_at_the_second(place, *others):
        if written:
            raise KeyboardInterrupt
        written.append(place.name)
        write(place, *others)

    monkeypatch.setattr(tool, "write", stop_at_the_second)
    assert run("photos") == 130
    monkeypatch.setattr(tool, "write", write)
    assert "stopped; the same command with --resume goes on" in capsys.readouterr().err
    first = [f"{written[0]}{kind}" for kind in (".labels.png", ".overlay.png")]
    assert files() == first
    before = [Path("work_dirs/pictures", name).stat().st_mtime_ns for name in first]
    assert run("photos", "--resume") == 0
    assert capsys.readouterr().out.startswith("1 of 3 pictures have their results in work_dirs/pictures")
    assert len(files()) == 6
    assert [Path("work_dirs/pictures", name).stat().st_mtime_ns for name in first] == before
    assert run("photos", "--resume") == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
