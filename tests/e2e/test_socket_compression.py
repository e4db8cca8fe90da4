"""permessage-deflate with and without context takeover (RFC 7692 §7.1.1)."""

import os
import zlib

import pytest

from harness.raw import Raw, encoded
from test_websockets import BARE, NATIVE


@pytest.mark.parametrize("takeover", [False, True])
@pytest.mark.parametrize("kind", [BARE, NATIVE], ids=lambda kind: kind.name)
def test_a_window_is_kept_only_when_configured(serve, kind, takeover):
    server = serve(kind.config() + f"[websocket]\ncontext_takeover = {str(takeover).lower()}\n").ready()
    client = Raw(server.port, extensions="permessage-deflate")
    text = os.urandom(2000).hex().encode()
    sizes, inflate = [], zlib.decompressobj(-15)
    for _ in range(3):
        client.io.sendall(encoded(0x81, text))
        opcode, payload = client.frame()
        assert opcode == 1
        if not takeover:
            inflate = zlib.decompressobj(-15)
        assert inflate.decompress(payload + b"\0\0\xff\xff") == text
        sizes.append(len(payload))
    assert sizes[0] > 1500
    # A message that the window remembers is a reference to it.
    assert (max(sizes[1:]) < 200) == takeover
