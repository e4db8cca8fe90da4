"""The applications under tests/e2e/apps and how each is served."""

import os
from dataclasses import dataclass
from pathlib import Path

APPS = Path(__file__).resolve().parent.parent / "apps"
NODE = APPS / "node"
PYTHON = APPS / "python"
VENV = Path(os.environ.get("E2E_VENV", ".venv"))
"""Virtual environment with the Python frameworks."""


def other_venvs() -> dict[str, Path]:
    """Virtual environments of further CPythons on this machine, by version."""
    pairs = filter(None, os.environ.get("E2E_VENVS", "").split(":"))
    return {version: Path(venv) for version, _, venv in (pair.partition("=") for pair in pairs)}


@dataclass(frozen=True)
class Kind:
    """An application and what it can do beyond the common contract."""

    name: str
    target: str
    can: frozenset[str] = frozenset()

    @property
    def language(self) -> str:
        """`node` or `python`."""
        return "python" if ":" in self.target else "node"

    def service(self, name: str = "app", workers: int = 1, **keys: object) -> str:
        """The `[service.NAME]` table that runs it."""
        table: dict[str, object] = {"workers": workers}
        if self.language == "node":
            table |= {"node": str(NODE / self.target)}
        else:
            table |= {"python": self.target, "cwd": str(PYTHON), "interpreter": str(VENV)}
        return section(f"[service.{name}]", table | keys)

    def config(self, top: str = "", name: str = "app", **keys: object) -> str:
        """A whole file: this application behind every path."""
        return f'{top}\n{self.service(name, **keys)}\n[[route]]\nmatch = "/*"\nto = "{name}"\n'


def section(heading: str, keys: dict[str, object]) -> str:
    """A TOML table."""
    return "\n".join([heading, *(f"{key} = {toml(value)}" for key, value in keys.items())]) + "\n"


def toml(value: object) -> str:
    """A TOML value."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f'"{key}" = {toml(item)}' for key, item in value.items()) + " }"
    if isinstance(value, (int, float)):
        return str(value)
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


NODE_CAN = frozenset({"duplex", "early", "trailers", "close", "truncate", "request-trailers", "crlf", "client"})

NODE_HTTP = Kind("node-http", "http.js", NODE_CAN)
NODE_HANDLER = Kind("node-handler", "handler.mjs", NODE_CAN)
NODE_FETCH = Kind("node-fetch", "fetch.mjs", frozenset({"duplex", "no-response"}))
ASGI = Kind(
    "asgi",
    "contract_asgi:app",
    frozenset({"duplex", "early", "trailers", "close", "truncate", "crlf", "client", "no-response", "cancels"}),
)
WSGI = Kind("wsgi", "contract_wsgi:app", frozenset({"close", "truncate", "crlf", "client", "no-response"}))

CORE = [NODE_HTTP, NODE_HANDLER, NODE_FETCH, ASGI, WSGI]
"""Applications that answer the whole contract (README.md)."""

FRAMEWORKS = [
    Kind("express5", "express.js"),
    Kind("express4", "express4.js"),
    Kind("fastify5", "fastify.js"),
    Kind("koa", "koa.mjs"),
    Kind("hono-fetch", "hono-app.mjs"),
    Kind("hono-node", "hono-node.mjs"),
    Kind("nest", "nest.js"),
    Kind("fastapi", "with_fastapi:app"),
    Kind("starlette", "with_starlette:app"),
    Kind("litestar", "with_litestar:app"),
    Kind("quart", "with_quart:app"),
    Kind("flask", "with_flask:app"),
    Kind("django-asgi", "with_django:asgi"),
    Kind("django-wsgi", "with_django:wsgi"),
]
