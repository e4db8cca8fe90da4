"""One function as a service, for `bireme compare --mix`: POST a JSON value, get the function's."""

import importlib.util
import inspect
import json
import os
import sys
from pathlib import Path

PATH = Path(os.environ["COMPARE_FILE"])
sys.path.insert(0, str(PATH.parent))
specification = importlib.util.spec_from_file_location(PATH.stem, PATH)
module = importlib.util.module_from_spec(specification)
sys.modules[PATH.stem] = module
specification.loader.exec_module(module)
call = getattr(module, os.environ["COMPARE_NAME"])


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    value = call(json.loads(body))
    if inspect.isawaitable(value):
        value = await value
    answer = json.dumps(value, separators=(",", ":")).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
