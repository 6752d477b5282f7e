"""Reading a page as a browser would, far enough to say whether anything in it could act."""

import base64
import hashlib
import re
from html.parser import HTMLParser

_TAGS = """
    html head meta title style body header main section footer nav article figure figcaption
    h1 h2 h3 p div span b i br ul li dl dt dd a abbr img code pre details summary small
    table caption thead tbody tr th td svg rect line text
"""
_ATTRIBUTES = """
    lang charset http-equiv content name class id href src alt width height title role open scope
    aria-label aria-labelledby aria-hidden viewbox preserveaspectratio x y x1 x2 y1 y2 rx
"""
TAGS, ATTRIBUTES = set(_TAGS.split()), set(_ATTRIBUTES.split())
VOID = {"meta", "br", "img"}

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    '" style="background:url(//evil.test)" x="',
    "javascript:alert(1)",
    '<a href="javascript:alert(1)">a</a>',
    "</td></tr></table></section><script>alert(1)</script>",
    "</title></style><script>alert(1)</script>",
    "</code></pre><iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<svg/onload=alert(1)>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62;",
    "<!-- <script>alert(1)</script>",
    "--><script>alert(1)</script>]]>",
    "\uff1cscript\uff1ealert(1)\uff1c/script\uff1e",
    "\u202e>tpircs<\u2066<script>alert(1)</script>",
    "<scr\x00ipt>alert(1)</scr\x00ipt>",
    "{{ 7 * 7 }}{% include 'style.css' %}",
    "<meta http-equiv=refresh content='0;url=//evil.test'><base href=//evil.test>",
]


class Page(HTMLParser):
    """A page's tags in order, its attributes, and its text without what is for machines.

    Attributes:
        tags: names of the start tags.
        attributes: (tag, name, value).
        words: every piece of text, stripped.
        style: what stands in <style>.
        unclosed: tags that were not closed in order.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.style = ""
        self.unclosed: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        self.unclosed += self._open

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.unclosed.append(tag)

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "style":
            self.style += data
        elif data.strip():
            self.words.append(" ".join(data.split()))

    def values(self, name: str) -> list[str]:
        return [value for _, found, value in self.attributes if found == name]


def read_inert(html: str) -> Page:
    """Return the page, having seen that nothing in it can run, load or lead anywhere."""
    page = Page(html)
    assert set(page.tags) <= TAGS
    assert {name for _, name, _ in page.attributes} <= ATTRIBUTES
    assert page.unclosed == []
    assert all(link.startswith("#") for link in page.values("href"))
    assert all(source.startswith("data:image/png;base64,") for source in page.values("src"))
    assert set(page.values("http-equiv")) == {"Content-Security-Policy"}
    assert page.tags.count("style") == page.tags.count("title") == 1
    assert page.tags.count("meta") == 4
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in page.values("href")} <= set(ids)
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00]", html)
    return page


def policy_of(page: Page) -> dict[str, list[str]]:
    """Return the content security policy as directive -> sources."""
    (policy,) = [v for _, n, v in page.attributes if n == "content" and "default-src" in v]
    parts = [part.split() for part in policy.split(";")]
    return {name: sources for name, *sources in parts}


def hash_source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
