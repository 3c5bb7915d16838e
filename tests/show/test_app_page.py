"""`sclip-seg app` in a browser: what a visitor does, sees, and is told."""

import io
import re
from urllib.parse import urlparse

import numpy as np
import pytest
from app_browser import ASKED, DRAWN, SCENE, field, look, pixels, point, run, serving, source, upload
from driven import browsing
from PIL import Image
from waiting import PATIENCE, until

from sclip_seg.toy.world import GROUNDS, THINGS

UNNAMED = """() => [...document.querySelectorAll("input, textarea, button")]
  .filter(field => field.checkVisibility())
  .filter(field => !(field.labels?.length || field.ariaLabel || field.title || field.innerText.trim()
    || field.querySelector("img[alt]:not([alt=''])")))
  .map(field => field.outerHTML.slice(0, 200))"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Address and log of a page with the toy backbone."""
    folder = tmp_path_factory.mktemp("app")
    with serving(folder) as served:
        yield served
    assert not list(folder.glob("sclip_seg-*")), "uploads are left behind"


@pytest.fixture(scope="module")
def browser():
    """One visitor, whose later visits find the page's scripts in the cache."""
    with browsing() as chromium:
        context = chromium.new_context(viewport={"width": 1280, "height": 900})
        context.set_default_timeout(1000 * PATIENCE)
        context.set_default_navigation_timeout(1000 * PATIENCE)
        yield context


@pytest.fixture
def page(server, browser):
    """A fresh visit; it may ask nobody but the server for anything, and no script in it may fail."""
    address, log = server
    page = browser.new_page()
    asked, failed = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.goto(address)
    page.get_by_role("button", name="Run", exact=True).wait_for()
    yield page
    page.close()
    hosts = {urlparse(url).hostname for url in asked if not url.startswith(("data:", "blob:"))}
    assert hosts == {"127.0.0.1"}
    assert not failed
    assert "Traceback" not in log.read_text()


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "scene.png"
    Image.fromarray(SCENE).save(path)
    return path


def test_from_a_picture_to_attention(page, scene):
    upload(page, scene)
    page.get_by_text("The picture is 128 x 96 pixels.").wait_for()
    run(page, "tomato, lemon, <b>leaf</b>", "sand; water")
    page.locator("#legend table").wait_for()
    rows = page.locator("#legend tr").all_inner_texts()
    assert all(re.search(r"%\s+[<\d.]+ %$", row) for row in rows)
    told = page.locator("#legend").inner_text()
    assert all(word in told for word in ("tomato", "lemon", "<b>leaf</b>", "background", "sclip, then clip"))
    page.locator("#overlay-1 img").wait_for()
    overlays = [pixels(page, f"#overlay-{side} img") for side in (0, 1)]
    assert all(np.abs(overlay - SCENE).mean() > 5 for overlay in overlays)
    assert np.abs(overlays[0] - overlays[1]).mean() > 1

    look(page, DRAWN, 0.5, 0.25)
    page.locator("#attention-1 img").wait_for()
    assert point(page) == pytest.approx((64, 24), abs=2)
    heats = [pixels(page, f"#attention-{side} img") for side in (0, 1)]
    assert np.abs(heats[0] - heats[1]).mean() > 0.5

    for x in (0.25, 0.75):  # the second while the first is being computed
        look(page, DRAWN, x, 0.5)
    until(lambda: point(page) == pytest.approx((96, 48), abs=2), "the last point")

    before = source(page, DRAWN)
    run(page, "kite", "")
    run(page, "kite, egg", "")  # likewise
    until(lambda: "egg" in page.locator("#legend").inner_text())
    assert "tomato" not in page.locator("#legend").inner_text()
    until(lambda: source(page, DRAWN) != before)
    until(lambda: page.locator("#attention-0").count() == 0)  # of the run before


def test_a_word_goes_off_and_the_pointer_and_files_tell_what_was_found(page, scene):
    upload(page, scene)
    page.get_by_text("The picture is").wait_for()
    run(page)
    page.locator(DRAWN).wait_for()
    page.locator(DRAWN).scroll_into_view_if_needed()
    size = page.locator(DRAWN).bounding_box()

    def told_at_the_pointer():
        for step in (0, 1):  # what is there to tell comes a moment after the picture
            page.mouse.move(size["x"] + size["width"] / 2 + step, size["y"] + size["height"] / 4)
        return page.locator("div.pointed").inner_text()

    told = until(told_at_the_pointer, "a word at the pointer")
    assert re.fullmatch(r"(tomato|lemon|leaf|background), score [01]\.\d\d", told)

    before, switches = source(page, DRAWN), page.locator("#legend button")
    switches.first.click()
    until(lambda: source(page, DRAWN) != before)
    assert switches.first.get_attribute("aria-pressed") == "false"
    assert page.evaluate("document.activeElement.dataset.class") == switches.first.get_attribute("data-class")
    for index in range(1, switches.count()):
        switches.nth(index).click()
        until(lambda index=index: switches.nth(index).get_attribute("aria-pressed") == "false")
    until(lambda: np.array_equal(pixels(page, DRAWN), SCENE), "a bare picture")
    switches.first.click()
    until(lambda: not np.array_equal(pixels(page, DRAWN), SCENE), "a colour again")
    page.get_by_label("number input for Lowest score").fill("1")
    page.keyboard.press("Enter")
    page.get_by_text("score below 1.00 (not painted)").wait_for()
    until(lambda: np.array_equal(pixels(page, DRAWN), SCENE), "a bare picture")

    page.get_by_role("button", name="Labels and overlays as files").click()
    links = until(lambda: page.locator("#files a").all(), "files")
    names = [link.get_attribute("href").rsplit("/", 1)[-1] for link in links]
    assert names == ["classes.txt", *(f"{m}.{kind}.png" for m in ("sclip", "clip") for kind in ("labels", "overlay"))]
    listed = page.request.get(links[0].get_attribute("href"), **ASKED).text()
    assert listed.split() == ["background", "tomato", "lemon", "leaf"]


def test_words_of_an_example_do_not_go_with_a_picture_of_ones_own(page, scene):
    page.locator("#examples button").nth(2).click()
    page.get_by_text("The picture is").wait_for()
    assert until(lambda: field(page, "Words").input_value(), "the example's words")
    page.get_by_role("button", name="Remove Image").click()
    upload(page, scene)
    until(lambda: not field(page, "Words").input_value() and not field(page, "Background words").input_value())
    assert "it only knows drawn scenes" in page.locator("#knows").inner_text()
    page.get_by_label("Backbone").click()
    page.get_by_role("option", name="openai_vit_b16", exact=True).click()
    until(lambda: not page.locator("#knows").inner_text().strip())


def test_programs_are_answered(server, browser, scene):
    """The service is the page's server: what it says of a scene is what the page would show."""
    fields = {"words": "tomato, lemon", "background": "sand", "method": "sclip"}
    given = {"name": "scene.png", "mimeType": "image/png", "buffer": scene.read_bytes()}
    root, request = f"{server[0]}/api", browser.request

    def ask(name, /, **more):
        return request.post(f"{root}/{name}", multipart={**fields, **more, "picture": given}, **ASKED)

    told = ask("classes").json()
    assert [one["name"] for one in told["classes"]] == ["background", "tomato", "lemon"]
    shares = [one["share"] for one in told["classes"]]
    assert sum(shares) == pytest.approx(1)
    labels = np.asarray(Image.open(io.BytesIO(ask("labels").body())))
    assert labels.shape == SCENE.shape[:2]
    assert np.bincount(labels.ravel(), minlength=3) / labels.size == pytest.approx(shares)
    assert np.load(io.BytesIO(ask("scores").body()))["scores"].shape == (3, *labels.shape)
    assert Image.open(io.BytesIO(ask("overlay").body())).height > len(labels)
    assert ask("words").json()["words"]
    assert "few-shot" in ask("remember", name="it", box="0,0,40,40").headers
    assert "toy" in request.get(root, **ASKED).json()["backbones"]
    for odd in ({"words": "a,,b"}, {"method": "../sclip"}, {"backbone": "none"}, {"words": " "}):
        answer = ask("classes", **odd)
        assert (answer.status, len(answer.json()["error"].splitlines())) == (400, 1)
    assert request.post(f"{root}/labels", multipart=fields, **ASKED).status == 422
    assert request.post(f"{root}/other", multipart=fields, **ASKED).status == 405


def test_opacity_redraws_and_large_pictures_are_scaled_down(page, scene, tmp_path):
    upload(page, scene)
    page.get_by_text("The picture is").wait_for()
    run(page)
    page.locator(DRAWN).wait_for()
    before = source(page, DRAWN)
    page.get_by_label("number input for Opacity").fill("0")
    page.keyboard.press("Enter")
    until(lambda: source(page, DRAWN) != before)
    assert np.array_equal(pixels(page, DRAWN), SCENE)

    path = tmp_path / "long.png"
    Image.new("RGB", (4096, 64), (80, 150, 60)).save(path)
    page.get_by_role("button", name="Remove Image").click()
    upload(page, path)
    page.get_by_text("The picture is 4096 x 64 pixels; it is scaled down to 2048 x 32.").wait_for()


def test_words_are_found_and_a_clicked_region_is_remembered(page, scene):
    upload(page, scene)
    page.get_by_text("The picture is").wait_for()
    page.get_by_role("button", name="Find words").click()
    page.get_by_text(re.compile(r"sclip found \w+ \d+% \(sure \d+%\)")).wait_for()
    found = field(page, "Words").input_value().split(", ")
    assert {*found} <= {*THINGS, *GROUNDS}
    run(page, None, None)
    page.locator("#overlay-1 img").wait_for()
    assert not re.search("few-shot", page.locator("#legend").inner_text())
    look(page, DRAWN, 0.5, 0.5)
    page.get_by_text("Below: what the point").wait_for()
    field(page, "The clicked region is").fill("<b>it</b>")
    before = source(page, DRAWN)
    page.get_by_role("button", name="Remember this").click()
    legend = page.locator("#legend")
    until(lambda: "sclip (few-shot, memory: 1 region of 1 name), then clip (few-shot" in legend.inner_text())
    until(lambda: source(page, DRAWN) != before)
    assert "<b>it</b>" in legend.inner_text()
    assert "Names: <b>it</b>." in page.locator("#memory").inner_text()
    assert not field(page, "The clicked region is").input_value()
    page.get_by_label("number input for Weight").fill("0.9")
    page.keyboard.press("Enter")
    page.get_by_text("sclip is few-shot: memory: 1 region of 1 name, weight 0.9.").wait_for()
    page.get_by_role("button", name="Memory as a file").click()
    links = until(lambda: page.locator("#files a").all(), "files")
    names = [link.get_attribute("href").rsplit("/", 1)[-1] for link in links]
    assert names == ["sclip.memory.safetensors", "clip.memory.safetensors"]
    page.get_by_role("button", name="Forget everything").click()
    until(lambda: "few-shot" not in legend.inner_text(), "the words alone")


def test_a_click_before_any_run(page):
    page.locator("#examples button").nth(1).click()
    page.get_by_text("The picture is").wait_for()
    field(page, "Words").fill("")
    page.get_by_label("Compare with").click()
    page.get_by_role("option", name="resclip", exact=True).click()
    look(page, "#picture .image-frame img", 0.5, 0.5)
    page.locator("#attention-0 img").wait_for()
    assert point(page) == pytest.approx((75, 100), abs=2)
    assert "depends on the words" in page.locator("#attention").inner_text()
    assert page.locator("#attention-1 img").count() == 0


def test_mistakes_are_told_and_the_page_lives_on(page, scene, tmp_path):
    run(page)
    page.get_by_role("alert").get_by_text("there is no picture").wait_for()
    upload(page, scene)
    page.get_by_text("The picture is").wait_for()
    run(page, "tomato,, leaf")
    page.get_by_role("alert").get_by_text("has an empty word").wait_for()
    look(page, "#picture .image-frame img", 0.5, 0.5)  # told the same
    field(page, "Words").fill("")
    look(page, "#picture .image-frame img", 0.5, 0.5)
    page.get_by_text("Below: what the point").wait_for()
    run(page, " ")
    page.get_by_role("alert").get_by_text("say what to look for").wait_for()

    letter = tmp_path / "letter.png"
    letter.write_text("this is no picture")
    page.get_by_role("button", name="Remove Image").click()
    upload(page, letter)
    page.get_by_role("alert").get_by_text("letter.png cannot be read as a picture").wait_for()
    run(page, "tomato, leaf")
    page.get_by_role("alert").get_by_text("letter.png cannot be read as a picture").wait_for()

    page.get_by_role("button", name="Remove Image").click()
    upload(page, scene)
    page.get_by_text("The picture is").wait_for()
    page.get_by_label("Backbone").click()
    page.get_by_role("option", name="openai_vit_b16", exact=True).click()
    run(page)
    page.get_by_role("alert").get_by_text("the weights 'openai' of ViT-B-16 are not on this machine").wait_for()
    page.get_by_label("Backbone").click()
    page.get_by_role("option", name="toy", exact=True).click()
    run(page)
    page.locator("#legend table").wait_for()


def test_looks(page, scene):
    page.locator("#examples img").nth(3).wait_for()
    assert not page.evaluate(UNNAMED)
    assert page.locator("h1 + p").inner_text().startswith("Give a picture, type what to look for, and press Run.")
    assert page.locator("footer a, footer button").count() == 0  # no API page, nobody's advertisement
    upload(page, scene)
    page.get_by_text("The picture is").wait_for()
    run(page)
    page.locator("#overlay-1 img").wait_for()
    look(page, DRAWN, 0.3, 0.3)
    page.locator("#attention-1 img").wait_for()
    for width in (1280, 400):
        page.set_viewport_size({"width": width, "height": 900})
        until(lambda width=width: page.evaluate("innerWidth") == width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page overflows"
        shot = np.asarray(Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")).astype(int)
        assert shot.shape[1] == width
        assert shot.std() > 20, "the page is blank"
        assert not page.evaluate(UNNAMED)
