"""Search in the documentation as it is read from a disk, where a browser starts no worker: docs/search-from-file.js."""

import shutil
from pathlib import Path

import pytest

build = pytest.importorskip("mkdocs.commands.build", reason="the site needs mkdocs: pip install .[docs]").build
pytest.importorskip("material", reason="the site needs mkdocs-material: pip install .[docs]")
from driven import browsing  # noqa: E402  skips without playwright
from links import faults  # noqa: E402
from mkdocs.config import load_config  # noqa: E402

ROOT = Path(__file__).parents[1]
SCRIPT = "search-from-file.js"
PAGES = {"index.md": "# Start\n\nA [zebra](deep/page.md).", "deep/page.md": "# Deep\n\nQuokkas and one wombat."}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Two pages by mkdocs.yml, without the hook that makes all the others, which takes half a minute."""
    folder = tmp_path_factory.mktemp("docs")
    for name, text in PAGES.items():
        (folder / "docs" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "docs" / name).write_text(text)
    for name in (SCRIPT, "site.css"):
        shutil.copy(ROOT / "docs" / name, folder / "docs")
    config = load_config(
        str(ROOT / "mkdocs.yml"),
        docs_dir=str(folder / "docs"),
        site_dir=str(folder / "site"),
        nav=list(PAGES),
        plugins=["search", "offline"],
        hooks=["tools/docs/scripts.py"],
    )
    build(config)
    return folder / "site"


def test_nothing_is_loaded_from_elsewhere(site):
    assert not faults(site)
    assert all(f'{SCRIPT}"' in (site / name).with_suffix(".html").read_text() for name in PAGES)


@pytest.fixture(scope="module")
def page(site):
    """The deeper page, open in a browser; what it asked for and what went wrong are `page.asked` and `page.wrong`."""
    with browsing() as browser:
        page = browser.new_page()
        page.asked, page.wrong = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("pageerror", lambda error: page.wrong.append(error))
        page.goto((site / "deep" / "page.html").as_uri())
        yield page


def test_a_word_is_found_from_the_disk(site, page):
    for word, place in (("zebra", "index.html"), ("wombat", "deep/page.html")):
        field = page.locator(".md-search__input").first
        field.fill("")
        field.press_sequentially(word)
        found = page.locator(f".md-search-result__item [href^='{(site / place).as_uri()}']").first
        found.filter(has_text=word).wait_for(state="attached")
    assert not page.wrong
    assert {address.split(":")[0] for address in page.asked} <= {"file", "data", "blob"}


def test_the_worker_keeps_the_interface_of_a_browsers_own(site, page):
    """Both ways of listening, copies of what is sent, scripts of scripts, a failure that is told, an end."""
    (site / "deep" / "double.js").write_text("importScripts('twice.js').then(() => postMessage('ready'));")
    (site / "deep" / "twice.js").write_text("addEventListener('message', e => postMessage([e.data, 2 * e.data.n]));")
    told = page.evaluate("""async () => {
        const worker = new Worker("double.js"), sent = {n: 3}, heard = [];
        await new Promise(done => { worker.onmessage = done; });
        worker.onmessage = event => heard.push(event.data);
        const answer = new Promise(done => worker.addEventListener("message", done, {once: true}));
        worker.postMessage(sent);
        sent.n = 5;
        await answer;
        worker.postMessage(sent);
        worker.terminate();
        const failed = await new Promise(done => { new Worker("no.js").onerror = event => done(event.message); });
        return {heard, failed};
    }""")
    assert told["heard"] == [[{"n": 3}, 6]]
    assert "no.js" in told["failed"]
