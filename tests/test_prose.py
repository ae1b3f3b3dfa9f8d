"""The prose of the docs is short sentences: none has more than 40 words, code, formulas and tables aside."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [
    *sorted(ROOT.glob("docs/**/*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
]
MOST_WORDS = 40
BREAK = re.compile(r"\s*(#|\||\s*(-|\d+\.)\s|!\[|:::|!!!|\?\?\?|===)")  # a line that ends the sentence before it
END = re.compile(r"(?<=[.!?])[)\"”*]*\s+(?=[\"“(*`\[]*[A-Z0-9`])")


def paragraphs(text):
    """Paragraphs, entries of lists: all that is no code, formula, heading or table."""
    text = re.sub(r"^( *)(```|~~~).*?^\1\2\s*$", "\n", text, flags=re.M | re.S)
    text = re.sub(r"\A---\n.*?\n---\n|<!--.*?-->", "\n", text, flags=re.S)
    found, after_blank, in_list = [], True, False
    for line in text.splitlines():
        if not line.strip():
            after_blank = True
            continue
        formula = line.startswith("    ") and after_blank and not in_list
        if formula or re.match(r"\s*(#|\||!\[)", line):
            after_blank = True
            continue
        if after_blank or BREAK.match(line):
            found.append("")
            in_list = bool(re.match(r"\s*(-|\d+\.)\s", line)) or (in_list and line.startswith("  "))
        found[-1] += " " + line.strip()
        after_blank = False
    return found


def sentences(text):
    """Sentences as lists of words; what stands between backquotes is one word, a link is its text."""
    for paragraph in paragraphs(text):
        plain = re.sub(r"`[^`]*`", "`code`", paragraph)
        plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", plain)
        plain = re.sub(r"^\s*(-|\d+\.)\s+", "", plain)
        for sentence in END.split(plain):
            words = [word for word in sentence.split() if re.search(r"\w", word)]
            if words:
                yield words


def too_long(text):
    return [" ".join(words) for words in sentences(text) if len(words) > MOST_WORDS]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_sentence_is_too_long(page):
    assert too_long(page.read_text(encoding="utf-8")) == []


def test_a_long_sentence_is_found_and_code_is_not_counted():
    long = "Word " + "word " * MOST_WORDS + "end."
    assert len(too_long(f"Short one. {long}\n\n- {long}\n  Short.\n")) == 2
    assert too_long(f"`{long}` is code.\n\n| {long} |\n\n    {long}\n\n```text\n{long}\n```\n") == []
