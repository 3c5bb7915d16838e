"""A page in headless Chromium: what it measures, and how it looks."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from waiting import PATIENCE

from sclip_seg.evaluate.report.page import SCRIPT

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PLAYWRIGHT = Path.home() / ".cache" / "ms-playwright"
# Everything unfolded, since a wide table may hide in a fold.
PROBE = """<!doctype html><style>body {{ margin: 0 }} iframe {{ border: 0 }}</style>
<iframe width="{width}" height="800"></iframe><pre></pre>
<script>
const frame = document.querySelector("iframe");
frame.onload = () => {{
  const page = frame.contentDocument;
  page.querySelectorAll("details").forEach(fold => fold.open = true);
  document.querySelector("pre").textContent = "SEEN" + JSON.stringify({{
    viewport: frame.contentWindow.innerWidth,
    scroll: page.documentElement.scrollWidth,
    text: page.body.innerText.trim().length,
    boxes: page.querySelectorAll(".box").length,
    protocols: Math.max(...[...page.querySelectorAll("td.wide > div")].map(part => part.getBoundingClientRect().right)),
    sorted: ["", "descending", "ascending"].map(way => {{
      const head = page.querySelectorAll("table.cells thead th")[2];
      if (way) head?.querySelector("button").click();
      const told = [...page.querySelectorAll("table.cells tbody")].map(body => body.rows[0].cells[2].dataset.value);
      return [head?.ariaSort ?? "", told, page.querySelectorAll("table.cells tbody tr + tr td.wide").length];
    }}),
  }}) + "END";
}};
frame.srcdoc = {source};
</script>"""


def find():
    """The browser's program, or a skip."""
    on_path = [found for found in map(shutil.which, NAMES) if found]
    installed = sorted(
        str(path) for path in PLAYWRIGHT.glob("chromium*/chrome-*/*") if path.name in (*NAMES, "headless_shell")
    )
    if not on_path + installed:
        pytest.skip("there is no Chromium here to look at the page with")
    return (on_path + installed)[0]


def start(folder, *arguments):
    """What the browser prints; a profile of its own, so that no other instance is joined."""
    order = [find(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
    order += [f"--user-data-dir={folder / 'profile'}", *arguments]
    done = subprocess.run(order, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def measure(path, width, folder):
    """Width of the viewport and of what it scrolls over, characters of text, and boxes that scroll."""
    source = json.dumps(Path(path).read_text()).replace("</", "<\\/")
    probe = folder / "probe.html"
    probe.write_text(PROBE.format(width=width, source=source))
    printed = start(folder, "--virtual-time-budget=10000", "--dump-dom", f"file://{probe}")
    return json.loads(re.search(r"SEEN(\{.*?\})END</pre>", printed)[1])


def screenshot(path, width, height, folder, dark=False):
    """The page's top as a PNG."""
    target = folder / "page.png"
    shades = ["--blink-settings=preferredColorScheme=0"] if dark else ["--blink-settings=preferredColorScheme=1"]
    start(folder, *shades, f"--window-size={width},{height}", f"--screenshot={target}", f"file://{path}")
    return target


def without_own_script(source):
    """A report's page without its one script, which is ours to the letter, and the only one that its policy admits."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    (policy,) = re.findall('<meta http-equiv="Content-Security-Policy" content="([^"]*)">', source)
    assert policy.split("; ")[0] == "default-src 'none'"
    assert policy.split("; ")[-1] == f"script-src 'sha256-{digest}'"
    assert source.count(f"<script>{SCRIPT}</script>") == 1
    return source.replace(f"<script>{SCRIPT}</script>", "")


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)


def colours(text):
    """Classes of the differences, the legend's left out."""
    start, end = text.index("<ul>"), text.index("</ul>")
    tags = Page(text[:start] + text[end:]).tags
    return [attrs["class"] for _, attrs in tags if attrs.get("class", "").startswith("diff ")]
