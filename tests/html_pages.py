"""HTML pages as tests read them: their tags and links, and a browser that opens them."""

import html.parser
import re
import shutil
import subprocess

CHROMIUM = shutil.which("chromium")
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)
BROWSERS_OWN = ("google.com", "googleapis.com", "gvt1.com")  # what Chromium asks for by itself, whatever it is told


class Outline(html.parser.HTMLParser):
    """Tags that are open, ids, and everything that a page would load."""

    VOID = frozenset({"meta", "link", "br", "path", "use", "rect", "image", "circle", "line", "polygon"})

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.targets, self.words = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.note(attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.note(attrs)

    def note(self, attrs):
        self.ids += [value for key, value in attrs if key == "id"]
        self.targets += [value for key, value in attrs if key in ("href", "src", "xlink:href", "srcset", "action")]

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def assert_whole(text):
    """A page closes its tags, has every id once, and loads nothing."""
    outline = Outline(text)
    assert outline.open == []
    assert len(set(outline.ids)) == len(outline.ids)
    for target in outline.targets:
        assert target.startswith(("#", "data:")), target
        assert not target.startswith("#") or target[1:] in outline.ids, target
    inline = re.sub(r'"data:[^"]*"', '""', text)
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", inline)
    for reference in re.findall(r"url\(#([^)]*)\)", text):
        assert reference in outline.ids


def browse(path, tmp_path, *flags):
    """Open a page in a new browser; what it says on stderr, and what on stdout."""
    words = [CHROMIUM, *QUIET, f"--user-data-dir={tmp_path / 'profile'}", *flags, path.as_uri()]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    return done.stderr, done.stdout
