"""What mkdocs does besides: it adds pages made from code and notebooks, and mends links to files outside of docs/."""

import os
import posixpath
import re
import sys
from pathlib import Path

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from notebooks import pages  # noqa: E402 - beside this file
from reference_pages import PAGES  # noqa: E402

RECORDER = "stragglersim/recorder.py"  # to be copied alone
COPIED = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(r"(?<=\]\()([^()\s#]+)(#[^()\s]*)?(?=\))")


def scenarios() -> str:
    """Every shipped scenario as it is, with a heading for each."""
    files = sorted((ROOT / "scenarios").glob("*.yaml"))
    texts = (f"## {file.stem}\n\n```yaml\n{file.read_text(encoding='utf-8')}```\n" for file in files)
    return "# Scenario files\n\n`stragglersim examples NAME` copies one to your folder.\n\n" + "\n".join(texts)


def on_files(files: Files, config: object) -> Files:
    """Add the pages that no file in docs/ has."""
    made = {f"reference/{name}.md": page() for name, page in PAGES.items()} | {"gallery/scenarios.md": scenarios()}
    made |= {target: (ROOT / source).read_text(encoding="utf-8") for source, target in COPIED.items()}
    for notebook in sorted((ROOT / "examples").glob("*.ipynb")):
        made |= pages(notebook)
        files.append(File.generated(config, f"examples/{notebook.name}", abs_src_path=str(notebook)))
    for path, content in made.items():
        files.append(File.generated(config, path, content=content))
    files.append(File.generated(config, "howto/recorder.py", abs_src_path=str(ROOT / RECORDER)))
    return files


def on_page_markdown(markdown: str, page: object, **_: object) -> str:
    """Point links to files outside of docs/ at their pages here, and those of copied files at docs/."""
    here = page.file.src_uri
    source = next((source for source, target in COPIED.items() if target == here), f"docs/{here}")

    def mended(link: re.Match[str]) -> str:
        target, anchor = link[1], link[2] or ""
        if "://" in target:
            return link[0]
        full = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        name = Path(full).name
        if full.startswith("docs/"):
            full = full.removeprefix("docs/")
        elif full.startswith("scenarios/"):
            full, anchor = "gallery/scenarios.md", f"#{Path(full).stem}"
        elif full == RECORDER:
            full = f"howto/{name}"
        elif full in COPIED:
            full = COPIED[full]
        elif full in ("examples", "scenarios"):
            full = {"examples": "howto/index.md", "scenarios": "gallery/scenarios.md"}[full]
        elif name.endswith(".ipynb"):
            full = full.removesuffix(".ipynb") + ".md"
        else:
            return link[0]
        return os.path.relpath(full, posixpath.dirname(here) or ".") + anchor

    return LINK.sub(mended, markdown)
