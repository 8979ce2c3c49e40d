"""The page at /docs: every route for people to read, made from the OpenAPI description.

Pure.  It asks nobody else for scripts or styles: a deck often stands where there is no way out, and what a
stranger's server hands to an operator's browser has no business beside a breaker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

__all__ = ["docs_page"]

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { font-size: 1.1rem; margin: 2.5rem 0 .25rem; }
h3 { font-size: 1rem; margin: 1rem 0 .25rem; }
code { font: .9em ui-monospace, monospace; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .2rem .75rem .2rem 0; }
tr { border-bottom: 1px solid #8884; }
nav a { display: block; }
"""

Page = Mapping[str, Any]


def docs_page(page: Page) -> bytes:
    """The description as HTML.

    Args:
        page: What /openapi.json answers.
    """
    operations = [
        (method.upper(), path, operation)
        for path, methods in page["paths"].items()
        for method, operation in methods.items()
    ]
    title = escape(f"{page['info']['title']} {page['info']['version']}")
    parts = [
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title><style>{_STYLE}</style></head>\n<body>\n<h1>{title}</h1>",
        f"<p>{escape(page['info']['description'])}</p>",
        '<p>For programs: <a href="/openapi.json">/openapi.json</a>, OpenAPI ',
        f'{escape(page["openapi"])}. A refusal is <code>{{"error", "detail", "field"}}</code>.</p>\n<nav>',
        *(
            f'<a href="#{_id(operation)}"><code>{method} {escape(path)}</code></a>'
            for method, path, operation in operations
        ),
        "</nav>",
        *(_section(page, *one) for one in operations),
        "</body>\n</html>\n",
    ]
    return "".join(parts).encode()


def _id(operation: Page) -> str:
    return escape(operation["operationId"])


def _section(page: Page, method: str, path: str, operation: Page) -> str:
    parts = [
        f'\n<section id="{_id(operation)}"><h2><code>{method} {escape(path)}</code></h2>',
        f"<p>{escape(operation['summary'])} {escape(operation.get('description', 'Open to all.'))}</p>",
    ]
    if operation["parameters"]:
        rows = [
            (given["name"], given["in"], given.get("description", "")) for given in operation["parameters"]
        ]
        parts.append(_table(("Argument", "Where", "What"), rows))
    if "requestBody" in operation:
        parts += _shapes(page, "Body", operation["requestBody"]["content"], _taken)
    done = next(answer for status, answer in operation["responses"].items() if status[0] == "2")
    parts += _shapes(page, "Answer", done.get("content", {}), _given)
    return "".join(parts) + "</section>"


def _shapes(page: Page, title: str, content: Page, fields: Callable[[Page, Page], str]) -> Iterator[str]:
    """What goes in or out, and the fields of each shape in it."""
    kinds = [
        _kind(page, one["schema"]) if media == "application/json" else media for media, one in content.items()
    ]
    yield f"<p>{title}: {escape(' or '.join(kinds) or 'empty')}.</p>"
    schema = content.get("application/json", {}).get("schema", {})
    for name in dict.fromkeys(_named(page, schema)):
        yield f"<h3>{escape(name)}</h3>{fields(page, page['components']['schemas'][name])}"


def _taken(page: Page, schema: Page) -> str:
    required = schema.get("required", ())
    rows = [
        (name, _kind(page, field), _span(field), "required" if name in required else "")
        for name, field in schema["properties"].items()
    ]
    return _table(("Field", "Value", "Bounds", ""), rows)


def _given(page: Page, schema: Page) -> str:
    rows = [
        (name, _kind(page, field) + (" or null" if _NULL in field.get("anyOf", ()) else ""))
        for name, field in schema["properties"].items()
    ]
    return f"<p>{escape(schema['description'].partition(chr(10))[0])}</p>{_table(('Field', 'Value'), rows)}"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    def line(cells: tuple[str, ...], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return f"<table>{line(head, 'th')}{''.join(line(row, 'td') for row in rows)}</table>"


def _kind(page: Page, schema: Page) -> str:
    """What may stand there, in words; null is left out, for nobody needs to send it."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(page, one) for one in schema["anyOf"] if one != _NULL))
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema:
        return " or ".join(str(value) for value in schema["enum"] if value is not None)
    if schema.get("type") == "array":
        return f"list of {_kind(page, schema['items'])}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"name to {_kind(page, schema['additionalProperties'])}"
    kind = str(schema.get("type", "any"))
    return {"boolean": "true or false", "string": "text"}.get(kind, kind)


def _span(schema: Page) -> str:
    """The bounds of a value, in words; of a mapping those of its values."""
    for shape in schema.get("anyOf", (schema,)):
        if isinstance(shape.get("additionalProperties"), dict):
            return _span(shape["additionalProperties"])
    words = {
        "minimum": "at least {:,.15g}",
        "exclusiveMinimum": "more than {:,.15g}",
        "maximum": "at most {:,.15g}",
        "maxLength": "at most {} characters",
        "maxItems": "at most {}",
    }
    return ", ".join(text.format(schema[word]) for word, text in words.items() if word in schema)


_NULL = {"type": "null"}


def _named(page: Page, schema: Page) -> Iterator[str]:
    """Every component that JSON of this schema may have, outermost first."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        yield name
        for field in page["components"]["schemas"][name]["properties"].values():
            yield from _named(page, field)
    for inner in schema.get("anyOf", ()):
        yield from _named(page, inner)
    if schema.get("type") == "array":
        yield from _named(page, schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _named(page, schema["additionalProperties"])
