"""The WSGI interface (PEP 3333), frame by frame, with an application that uses no framework."""

import struct

import pytest

from fake_front import (
    CANCELLED,
    CREDIT,
    DATA,
    END,
    INITIAL_CREDIT,
    INTERNAL,
    NO_ERROR,
    PROTOCOL,
    REQUEST,
    RESET,
    RESPONSE,
    Frame,
    encode_request,
)


@pytest.fixture
def app(serve):
    return serve("raw_wsgi:app", options={"threads_max": 4})


def test_answers_a_request(app):
    response = app.fetch()
    assert (response.status, response.body, response.reason) == (200, b"Hello, world!", b"OK")
    assert response.headers == {"content-type": "text/plain", "content-length": "13"}
    assert app.ready["kind"] == "wsgi"


def test_a_whole_response_is_one_frame(app):
    stream = app.link.open()
    frame = app.link.read()
    assert (frame.kind, frame.stream, frame.flags) == (RESPONSE, stream, END)


def test_environ_is_what_the_specification_says(app):
    fields = [
        (b"Host", b"example.test"),
        (b"Content-Type", b"text/x"),
        (b"content-length", b"0"),
        (b"X-Two", b"a"),
        (b"x-two", b"b\xff"),
        (b"Cookie", b"c=d"),
        (b"cookie", b"e=f"),
        (b"X_Forged", b"no"),
        (b"Proxy", b"no"),
    ]
    environ = app.fetch(
        target=b"/environ/a%20b/%C3%A9?q=1%202", method=b"PUT", fields=fields, prefix=b"/api%20v", https=True
    ).json()
    assert environ == {
        "REQUEST_METHOD": "PUT",
        "SCRIPT_NAME": "/api v",
        "PATH_INFO": "/environ/a b/Ã©",
        "QUERY_STRING": "q=1%202",
        "REQUEST_URI": "/api%20v/environ/a%20b/%C3%A9?q=1%202",
        "RAW_URI": "/api%20v/environ/a%20b/%C3%A9?q=1%202",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "192.0.2.1",
        "SERVER_PORT": "8000",
        "SERVER_SOFTWARE": "bireme",
        "GATEWAY_INTERFACE": "CGI/1.1",
        "REMOTE_ADDR": "192.0.2.7",
        "REMOTE_PORT": "51234",
        "CONTENT_TYPE": "text/x",
        "CONTENT_LENGTH": "0",
        "HTTP_HOST": "example.test",
        "HTTP_X_TWO": "a,b\xff",
        "HTTP_COOKIE": "c=d; e=f",
        "wsgi.version": [1, 0],
        "wsgi.url_scheme": "https",
        "wsgi.errors": True,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }


def test_environ_over_a_unix_socket_names_the_host(app):
    fields = [(b"Host", b"example.test:81")]
    environ = app.fetch(target=b"/environ", remote=(b"", 0), local=(b"", 0), fields=fields).json()
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"], environ["REMOTE_ADDR"]) == ("example.test", "81", "")


def test_many_requests_in_one_read_are_answered_each(app):
    first = app.link.next_stream
    count = 300
    app.link.next_stream += count
    app.link.send(*[Frame(REQUEST, first + i, encode_request(), END) for i in range(count)])
    assert all(r.body == b"Hello, world!" for r in app.link.collect(*range(first, first + count)))


def test_request_bodies(app):
    assert app.fetch(target=b"/echo", method=b"POST", body=b"whole").body == b"whole"
    stream = app.link.open(flags=0, target=b"/echo", method=b"POST", body=b"first,")
    app.link.send(Frame(DATA, stream, b"second,"), Frame(DATA, stream, b"third", END))
    assert app.link.collect(stream).body == b"first,second,third"


def test_lines_across_frames(app):
    for name, expected in [
        (b"/lines", ["one\n", "two", "-rest\n", "three", ""]),
        (b"/iterate", ["one\n", "two-rest\n", "three"]),
    ]:
        stream = app.link.open(flags=0, target=name, method=b"POST", body=b"on")
        app.link.send(Frame(DATA, stream, b"e\ntwo-re"), Frame(DATA, stream, b"st\nthree", END))
        assert app.link.collect(stream).json() == expected


def test_an_upload_is_granted_credit_as_it_is_read(app):
    stream = app.link.open(flags=0, target=b"/sizes", method=b"POST")
    total = 0
    granted = INITIAL_CREDIT
    while total < 3 * INITIAL_CREDIT:
        app.link.send(Frame(DATA, stream, bytes(granted)))
        total += granted
        frame = app.link.read()
        assert (frame.kind, frame.stream) == (CREDIT, stream)
        (granted,) = struct.unpack("<I", frame.payload)
    app.link.send(Frame(DATA, stream, b"", END))
    sizes = app.link.collect(stream).json()["sizes"]
    assert sum(sizes) == total and set(sizes[:-1]) == {100_000}


def test_a_download_stops_without_credit_and_goes_on_with_it(app):
    stream = app.link.open(target=b"/big")
    response = app.link.collect(stream, credit=False, until=lambda r: len(r.body) == INITIAL_CREDIT)
    assert not response.ended
    assert app.fetch().status == 200
    app.link.send(Frame(CREDIT, stream, struct.pack("<I", 2**31)))
    got = response.body
    while True:
        frame = app.link.read()
        got += frame.payload
        if frame.flags & END:
            break
    assert got == bytes(range(256)) * 8192


def test_reason_phrases_are_kept(app):
    response = app.fetch(target=b"/reason")
    assert (response.status, response.reason) == (418, b"I'm a teapot")


def test_generators_write_and_files(app):
    assert app.fetch(target=b"/generator").chunks[:3] == [b"part 0\n", b"part 1\n", b"part 2\n"]
    assert app.fetch(target=b"/write").body == b"written and returned"
    assert b'"""A WSGI application' in app.fetch(target=b"/file").body
    empty = app.fetch(target=b"/empty")
    assert (empty.status, empty.body) == (204, b"")


def test_close_is_called_however_it_ends(app):
    assert app.fetch(target=b"/close").body == b"ab"
    broken = app.fetch(target=b"/close_after_error")
    assert broken.reset[0] == INTERNAL
    assert app.fetch(target=b"/closed").json() == ["close", "close_after_error"]


def test_an_exception_is_a_reset_with_its_traceback(app):
    response = app.fetch(target=b"/raise")
    assert response.status is None
    code, text = response.reset
    assert code == INTERNAL and text.rstrip().endswith("ValueError: raised on purpose")
    assert text.startswith("Traceback") and "raw_wsgi.py" in text
    assert app.fetch().status == 200


def test_exc_info(app):
    response = app.fetch(target=b"/exc_info")
    assert (response.status, response.headers, response.body) == (500, {"x-second": "2"}, b"replaced")
    response = app.fetch(target=b"/exc_info_late")
    assert (response.status, response.body) == (200, b"begun")
    assert response.reset[0] == INTERNAL and "ValueError: too late to change" in response.reset[1]


@pytest.mark.parametrize(
    "how, code, said",
    [
        ("newline", PROTOCOL, "CR, LF or NUL"),
        ("unicode", PROTOCOL, "not Latin-1"),
        ("bytes", INTERNAL, "must be a str"),
        ("status", PROTOCOL, 'not like "200 OK"'),
        ("twice", INTERNAL, "twice"),
        ("text", PROTOCOL, "must be made of bytes, not str"),
        ("too-long", PROTOCOL, "longer than its Content-Length"),
        ("too-short", PROTOCOL, "1 bytes short"),
        ("none", INTERNAL, "NoneType"),
        ("no-start", PROTOCOL, "without calling start_response"),
    ],
)
def test_what_breaks_the_contract_is_reset_and_harms_nobody_else(app, how, code, said):
    response = app.fetch(target=b"/broken?" + how.encode())
    assert response.reset is not None, response.body
    assert response.reset[0] == code and said in response.reset[1]
    assert app.fetch().status == 200


def test_requests_that_block_run_on_several_threads(app):
    streams = [app.link.open(target=b"/meet") for _ in range(3)]
    assert len({response.json()["thread"] for response in app.link.collect(*streams)}) == 3


def test_one_thread_is_possible(serve):
    app = serve("raw_wsgi:app", options={"threads_max": 1})
    assert app.fetch(target=b"/environ").json()["wsgi.multithread"] is False
    streams = [app.link.open(target=b"/sleep?0.01") for _ in range(5)]
    assert all(response.body == b"slept" for response in app.link.collect(*streams))


def test_a_finished_response_does_not_wait_for_a_request_that_blocks(serve):
    app = serve("raw_wsgi:app", options={"threads_max": 1})
    app.fetch()
    first = app.link.next_stream
    app.link.next_stream += 2
    app.link.send(
        Frame(REQUEST, first, encode_request(), END), Frame(REQUEST, first + 1, encode_request(target=b"/sleep?5"), END)
    )
    app.link.connection.settimeout(3)
    frame = app.link.read()
    assert (frame.kind, frame.stream) == (RESPONSE, first)


def test_a_client_that_goes_away_ends_the_iteration(app):
    stream = app.link.open(target=b"/endless")
    app.link.collect(stream, until=lambda r: len(r.body) > 3_000_000)
    app.link.send(Frame(RESET, stream, b"", aux=CANCELLED))
    assert app.fetch(target=b"/wait_gone").json() == {"gone": True}


def test_an_unread_request_body_is_declined(app):
    stream = app.link.open(flags=0, method=b"POST", body=b"some")
    frame = app.link.read()
    assert frame.kind == RESPONSE and frame.flags & END
    frame = app.link.read()
    assert (frame.kind, frame.stream, frame.aux) == (RESET, stream, NO_ERROR)


@pytest.mark.parametrize(
    "frames",
    [
        [Frame(DATA, 5, b"x")],
        [Frame(0x77, 1, b"")],
        [Frame(RESPONSE, 1, b"\0\0\0\0", END, 200)],
        [Frame(REQUEST, 1, b"too short", END)],
        [Frame(REQUEST, 1, encode_request(target=b"/sizes")), Frame(DATA, 1, bytes(INITIAL_CREDIT)), Frame(DATA, 1, bytes(INITIAL_CREDIT * 2))],
        [Frame(REQUEST, 1, encode_request(target=b"/sizes")), Frame(CREDIT, 1, b"12345")],
    ],
    ids=lambda frames: str(frames)[:60],
)
def test_a_front_that_breaks_the_protocol_loses_the_link(app, frames):
    app.link.send(*frames)
    while app.link.read() is not None:
        pass
    app.wait_for_output("a data link is over")


def test_system_exit_ends_the_worker(app):
    app.link.open(target=b"/exit")
    assert app.process.wait(20) == 7
