"""The ASGI interface (ASGI 3, HTTP spec 2.5), frame by frame, with an application that uses no framework."""

import struct

import pytest

from conftest import APPS
from fake_front import (
    CANCELLED,
    CREDIT,
    DATA,
    END,
    FILE,
    INITIAL_CREDIT,
    INTERNAL,
    NO_ERROR,
    PROTOCOL,
    REQUEST,
    RESET,
    RESPONSE,
    TRAILERS,
    Frame,
    Response,
    encode_request,
)


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request, python):
    import subprocess

    if request.param == "uvloop" and subprocess.run([python, "-c", "import uvloop"], capture_output=True).returncode:
        pytest.skip(f"{python} has no uvloop")
    return request.param


@pytest.fixture
def app(serve, loop):
    return serve("raw_asgi:app", options={"loop": loop})


@pytest.fixture
def plain(serve):
    return serve("raw_asgi:app", options={"loop": "asyncio"})


def test_answers_a_request(app, loop):
    response = app.fetch()
    assert (response.status, response.body) == (200, b"Hello, world!")
    assert response.headers == {"content-type": "text/plain"}
    assert app.ready["kind"] == "asgi"
    assert app.fetch(target=b"/process").json()["loop"].startswith(loop)


def test_a_whole_response_is_one_frame(app):
    stream = app.link.open()
    frame = app.link.read()
    assert (frame.kind, frame.stream, frame.flags) == (RESPONSE, stream, END)


def test_scope_is_what_the_specification_says(plain):
    fields = [(b"Host", b"example.test"), (b"X-Two", b"a"), (b"x-two", b"b\xff"), (b"Cookie", b"c=d")]
    value = plain.fetch(
        target=b"/scope/a%20b/%C3%A9%2F%zz?q=1%202&r", fields=fields, prefix=b"/api%20v", https=True, version=20
    ).json()
    assert value["types"] == ["list", "bytes", "tuple"]
    assert value["scope"] == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "2",
        "method": "GET",
        "scheme": "https",
        "path": "/api v/scope/a b/é/%zz",
        "raw_path": "/api%20v/scope/a%20b/%C3%A9%2F%zz",
        "query_string": "q=1%202&r",
        "root_path": "/api v",
        "headers": [["host", "example.test"], ["x-two", "a"], ["x-two", "b\xff"], ["cookie", "c=d"]],
        "client": ["192.0.2.7", 51234],
        "server": ["192.0.2.1", 8000],
        "state": {"answer": 42},
        "extensions": {"http.response.trailers": {}, "http.response.early_hint": {}, "http.response.pathsend": {}},
    }


def test_scope_over_a_unix_socket_has_no_addresses(plain):
    response = plain.fetch(target=b"/hello", remote=(b"", 0), local=(b"", 0))
    assert response.status == 200


def test_equal_headers_of_two_requests_do_not_mix(plain):
    for number in range(3):
        fields = [(b"Host", b"example.test"), (b"X-Number", b"%d" % number), (b"x-number", b"same")]
        headers = plain.fetch(target=b"/scope", fields=fields).json()["scope"]["headers"]
        assert headers[1:] == [["x-number", str(number)], ["x-number", "same"]]


def test_many_requests_in_one_read_are_answered_each(app):
    first = app.link.next_stream
    count = 200
    app.link.next_stream += count
    app.link.send(
        *[Frame(REQUEST, first + i, encode_request(target=b"/hello" if i % 2 else b"/task?v%d" % i), END) for i in range(count)]
    )
    for i, response in enumerate(app.link.collect(*range(first, first + count))):
        if i % 2:
            assert response.body == b"Hello, world!"
        else:
            assert response.json() == {
                "is_task": True, "before": "fresh", "inner": f"v{i}", "after": f"v{i}", "main_thread": True,
            }


def test_each_request_has_its_own_context(app):
    for _ in range(3):
        assert app.fetch(target=b"/eager").json() == {"before": "fresh", "is_task": True}


def test_an_application_that_is_no_coroutine_function_runs_in_the_task(serve, loop):
    app = serve("raw_asgi:instance", options={"loop": loop, "interface": "asgi"})
    for _ in range(2):
        assert app.fetch().json() == {"before": "fresh", "is_task": True}


def test_request_bodies_in_one_frame_and_in_many(app):
    assert app.fetch(target=b"/echo", method=b"POST", body=b"whole").body == b"whole"
    stream = app.link.open(flags=0, target=b"/echo", method=b"POST", body=b"first,")
    app.link.send(Frame(DATA, stream, b"second,"), Frame(DATA, stream, b""), Frame(DATA, stream, b"third", END))
    assert app.link.collect(stream).body == b"first,second,third"
    stream = app.link.open(flags=0, target=b"/echo", method=b"POST", body=b"before trailers")
    app.link.send(Frame(TRAILERS, stream, b"\0\0", END))
    assert app.link.collect(stream).body == b"before trailers"


def test_an_upload_is_granted_credit_only_as_it_is_read(app):
    stream = app.link.open(flags=0, target=b"/slow_reader", method=b"POST")
    app.link.send(Frame(DATA, stream, bytes(INITIAL_CREDIT)))
    # /release is answered after the upload was received: nothing has been granted by then.
    release = app.link.open(target=b"/release")
    frame = app.link.read()
    assert (frame.kind, frame.stream) == (RESPONSE, release)
    frame = app.link.read()
    assert (frame.kind, frame.stream) == (CREDIT, stream)
    (granted,) = struct.unpack("<I", frame.payload)
    assert granted == INITIAL_CREDIT
    app.link.send(Frame(DATA, stream, bytes(granted), END))
    assert app.link.collect(stream).json() == {"bytes": 2 * INITIAL_CREDIT}


def test_a_download_stops_without_credit_and_goes_on_with_it(app):
    stream = app.link.open(target=b"/big")
    response = app.link.collect(stream, credit=False, until=lambda r: len(r.body) == INITIAL_CREDIT)
    assert not response.ended
    other = app.link.fetch(target=b"/hello")
    assert other.status == 200
    app.link.send(Frame(CREDIT, stream, struct.pack("<I", 10)))
    frame = app.link.read()
    assert (frame.kind, len(frame.payload), frame.flags) == (DATA, 10, 0)
    app.link.send(Frame(CREDIT, stream, struct.pack("<I", 2**31)))
    got = response.body + frame.payload
    while True:
        frame = app.link.read()
        got += frame.payload
        if frame.flags & END:
            break
    assert got == bytes(range(256)) * 8192


def test_bodies_sent_without_awaiting_keep_their_order(app):
    body = app.fetch(target=b"/gathered_big").body
    assert body == b"a" * 600_000 + b"b" * 600_000 + b"c"


def test_streaming(app):
    response = app.fetch(target=b"/stream")
    assert response.chunks[:5] == [b"part %d\n" % number for number in range(5)]


def test_receive_and_send_work_as_tasks(app):
    response = app.fetch(target=b"/as_tasks")
    assert (response.reset, response.body) == (None, b"one two")


def test_bodies_may_be_any_bytes_like(app):
    response = app.fetch(target=b"/other_bodies")
    assert (response.headers, response.body) == ({"x-a": "1"}, b"array view")


def test_timeouts_work(app):
    assert app.fetch(target=b"/timeout").body == b"timed out"


def test_trailers(app):
    response = app.fetch(target=b"/trailers")
    assert (response.body, response.trailers) == (b"body", [(b"x-sum", b"1"), (b"x-other", b"2")])


def test_early_hints(app):
    response = app.fetch(target=b"/hints")
    assert response.informational == [(103, [(b"link", b"</a.css>; rel=preload"), (b"link", b"</b.js>; rel=preload")])]
    assert response.body == b"ok"


def test_a_file_is_named_to_the_front(app):
    stream = app.link.open(target=b"/file")
    frame = app.link.read()
    assert (frame.kind, frame.stream, frame.aux, frame.flags) == (RESPONSE, stream, 200, END | FILE)
    response = Response()
    app.link.take(frame, response)
    assert response.fields == [(b"x-kind", b"file")]
    # The application gave a relative path; the front's folder is another one.
    assert response.body == str(APPS / "raw_asgi.py").encode()
    assert app.link.collect(app.link.open(target=b"/file", method=b"HEAD")).body == b""


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (b"/file?long", "a path of 5000 bytes"),
        (b"/file?trailers", "trailers cannot follow a file"),
        (b"/file?late", "a part of the body has been sent"),
        (b"/file?twice", None),
    ],
)
def test_a_file_in_the_wrong_place_breaks_the_contract(app, target, why):
    response = app.link.collect(app.link.open(target=target))
    if why is None:
        assert response.body.endswith(b"raw_asgi.py")
        app.wait_for_output("the response is already complete")
    else:
        code, text = response.reset
        assert code == PROTOCOL and why in text, text


def test_head_does_not_wait_for_credit(app):
    stream = app.link.open(target=b"/big", method=b"HEAD")
    assert app.link.collect(stream, credit=False).reset is None


def test_a_client_that_goes_away_is_a_disconnect(app):
    stream = app.link.open(target=b"/wait_for_disconnect")
    app.link.collect(stream, until=lambda r: r.body == b"on")
    app.link.send(Frame(RESET, stream, b"", aux=CANCELLED))
    assert app.fetch(target=b"/seen").json()["disconnects"] == 1


def test_send_raises_once_the_client_has_gone(app):
    stream = app.link.open(target=b"/endless")
    app.link.collect(stream, until=lambda r: len(r.body) > 3_000_000)
    app.link.send(Frame(RESET, stream, b"", aux=CANCELLED))
    assert app.fetch(target=b"/seen").json()["oserrors"] == 1


def test_an_exception_is_a_reset_with_its_traceback(app):
    response = app.fetch(target=b"/raise")
    assert response.status is None
    code, text = response.reset
    assert code == INTERNAL and "raise ValueError" in text and text.rstrip().endswith("ValueError: raised on purpose")
    response = app.fetch(target=b"/raise_late")
    assert (response.status, response.body) == (200, b"begun")
    assert response.reset[0] == INTERNAL
    assert app.fetch().status == 200


def test_an_exception_after_the_response_is_logged(app):
    assert app.fetch(target=b"/raise_after").body == b"fine"
    app.wait_for_output("ValueError: raised in the background")


def test_a_missing_or_incomplete_response_is_reset(app):
    assert app.fetch(target=b"/nothing").reset == (
        PROTOCOL, "the application returned without sending a response",
    )
    assert app.fetch(target=b"/half").reset == (
        PROTOCOL, "the application returned before its response was complete",
    )


@pytest.mark.parametrize(
    "how, said",
    [
        ("newline", "CR, LF or NUL"),
        ("name", "not a token"),
        ("text", "must be bytes, not str"),
        ("status", "status 99"),
        ("status-text", "status '200'"),
        ("body-first", "has not been sent"),
        ("twice", "already started"),
        ("type", "websocket.send"),
        ("no-type", "without a type"),
        ("not-a-dict", ""),
        ("body-text", "must be bytes, not str"),
        ("too-long", "longer than its content-length"),
        ("too-short", "1 bytes short"),
        ("length", "is not a number"),
        ("huge", "65,535"),
        ("trailers", "trailers=True"),
    ],
)
def test_what_breaks_the_contract_is_reset_and_harms_nobody_else(plain, how, said):
    response = plain.fetch(target=b"/broken?" + how.encode())
    assert response.reset is not None, response.body
    code, text = response.reset
    assert code == PROTOCOL and said in text
    assert plain.fetch().status == 200


def test_an_unread_request_body_is_declined(app):
    stream = app.link.open(flags=0, target=b"/hello", method=b"POST", body=b"some")
    frame = app.link.read()
    assert frame.kind == RESPONSE and frame.flags & END
    frame = app.link.read()
    assert (frame.kind, frame.stream, frame.aux) == (RESET, stream, NO_ERROR)
    app.link.send(Frame(DATA, stream, b"crossed on the way"))
    assert app.fetch().status == 200


@pytest.mark.parametrize(
    "frames",
    [
        [Frame(DATA, 5, b"x")],
        [Frame(0x77, 1, b"")],
        [Frame(RESPONSE, 1, b"\0\0\0\0", END, 200)],
        [Frame(REQUEST, 1, b"too short", END)],
        [Frame(REQUEST, 1, encode_request(), END), Frame(REQUEST, 1, encode_request(), END)],
        [Frame(REQUEST, 1, encode_request(target=b"/never")), Frame(DATA, 1, bytes(INITIAL_CREDIT + 1))],
        [Frame(REQUEST, 1, encode_request(target=b"/never")), Frame(DATA, 1, b"", END), Frame(DATA, 1, b"x")],
        [Frame(REQUEST, 1, encode_request(target=b"/never")), Frame(CREDIT, 1, b"12345")],
        [Frame(REQUEST, 1, encode_request(body=bytes(INITIAL_CREDIT + 1)), END)],
        [Frame(REQUEST, 0, encode_request(), END)],
    ],
    ids=lambda frames: str(frames)[:60],
)
def test_a_front_that_breaks_the_protocol_loses_the_link(plain, frames):
    plain.link.send(*frames)
    while plain.link.read() is not None:
        pass
    plain.wait_for_output("a data link is over")


def test_a_frame_longer_than_allowed_ends_the_link(plain):
    plain.link.connection.sendall(struct.pack("<IIBBH", (1 << 20) + 1, 1, REQUEST, 0, 0))
    assert plain.link.read() is None


def test_two_links_are_served(serve):
    app = serve("raw_asgi:app", links=2)
    for link in app.links:
        assert link.fetch().status == 200
    app.links[0].close()
    assert app.links[1].fetch().status == 200
