"""Pages of the notebooks in examples/, with the outputs that are stored in them."""

import base64
import json
import re
from pathlib import Path

Files = dict[str, str | bytes]


def pages(notebook: Path) -> Files:
    """A notebook as Markdown, and its figures beside it; what it says on stderr is left out."""
    name, parts = notebook.stem, []
    found: Files = {}
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            data = {kind: "".join(lines) for kind, lines in output.get("data", {}).items()}
            if "image/png" in data:
                figure = f"{name}-{len(found) + 1}.png"
                found[f"examples/{figure}"] = base64.b64decode(data["image/png"])
                parts.append(f"![What the cell above draws]({figure})")
            elif "text/html" in data:
                parts.append(plain_html(data["text/html"]))
            elif output.get("name") != "stderr":
                text = data.get("text/plain") or "".join(output.get("text", []))
                parts.append(f"```text\n{text.strip()}\n```")
        if len(parts) == 1:
            parts.append(f"A notebook with its outputs ([{notebook.name}]({notebook.name})).")
    return {f"examples/{name}.md": "\n\n".join(parts) + "\n"} | found


def plain_html(table: str) -> str:
    """A table of pandas without its own style, so that it looks as others do."""
    return re.sub(r'<style.*?</style>| (border|class|style)="[^"]*"|\n\s*', "", table, flags=re.S)
