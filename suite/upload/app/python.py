"""Takes a form with files, and answers with each file's size and digest, computed as the bytes arrive."""

import json
from hashlib import sha256

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

FILE_BYTES_MAX = 16 * 1024 * 1024


class Form:
    """What arrived so far; the parser calls the methods named `on_…`."""

    def __init__(self):
        self.fields = {}
        self.files = []

    def on_part_begin(self):
        self.name, self.value = b"", b""
        self.disposition = {}
        self.file = None

    def on_header_field(self, data, start, end):
        self.name += data[start:end]

    def on_header_value(self, data, start, end):
        self.value += data[start:end]

    def on_header_end(self):
        if self.name.lower() == b"content-disposition":
            self.disposition = parse_options_header(self.value)[1]
        self.name, self.value = b"", b""

    def on_headers_finished(self):
        if b"filename" in self.disposition:
            self.file, self.bytes = sha256(), 0

    def on_part_data(self, data, start, end):
        if self.file is None:
            self.value += data[start:end]
            return
        self.file.update(memoryview(data)[start:end])
        self.bytes += end - start
        if self.bytes > FILE_BYTES_MAX:
            raise FormParserError("the file is too large")

    def on_part_end(self):
        field = self.disposition[b"name"].decode()
        if self.file is None:
            self.fields[field] = self.value.decode()
        else:
            name = self.disposition[b"filename"].decode()
            self.files.append({"field": field, "filename": name, "bytes": self.bytes, "sha256": self.file.hexdigest()})


CALLBACKS = [
    "on_part_begin", "on_header_field", "on_header_value", "on_header_end", "on_headers_finished", "on_part_data", "on_part_end",
]


async def answer(send, status, value):
    body = json.dumps(value, separators=(",", ":")).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    kind, options = parse_options_header(dict(scope["headers"]).get(b"content-type", b""))
    if kind != b"multipart/form-data" or b"boundary" not in options:
        await answer(send, 400, {"error": "no multipart form"})
        return
    form = Form()
    parser = MultipartParser(options[b"boundary"], {name: getattr(form, name) for name in CALLBACKS})
    try:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            parser.write(message.get("body", b""))
            if not message.get("more_body", False):
                break
        parser.finalize()
    except FormParserError as error:
        await answer(send, 400, {"error": str(error)})
        return
    await answer(send, 200, {"fields": form.fields, "files": form.files})
