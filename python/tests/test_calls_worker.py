"""A worker that takes calls: every way in which a call can go and end, frame by frame."""

import asyncio
import datetime
import json
import struct
import time

import pytest

from call_links import (
    BIND, CALL, CANCEL, CREDIT, DATA, ERROR, GET, HANDLE, ITEM, MARK, NEW, QUEUED, RELEASE, RESULT, STARTED, STREAM, CallsWorker, decode_value, encode_value, parse_call,
)
from conftest import APPS, REPOSITORY
from fake_front import DEADLINE_S, DRAIN, END, Frame

GOLDEN = json.loads((REPOSITORY / "protocol/golden/calls.json").read_text("utf-8"))
CALLEES = APPS / "callees.py"
NAMES = [
    "seen", "add", "echo", "plain", "here", "where", "fail", "fail_several", "sleep", "limited", "wait_for_gate", "open_gate", "count", "acount", "forever",
    "broken", "iterators", "sized", "large", "unhashable", "annotated", "Counter", "call_back", "call_back_in_thread", "keep", "drop", "produce", "squares",
    "too_few", "idle", "set_visitor", "set_visitor_quickly", "set_visitor_in_task", "set_visitor_in_batch", "visitors", "avisitors",
    "visitors_of_call", "nothing.at.all", "Counter.of", "Counter.made",
]
NUMBERS = {name: number for number, name in enumerate(NAMES, 1)}


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def worker(python, launcher, request):
    worker = CallsWorker(python, launcher, APPS, {"loop": request.param, "threads_max": 2}, queue_max=2)
    yield worker
    worker.close()


@pytest.fixture
def peer(worker):
    peer = connect(worker)
    yield peer
    peer.close()
    # Nothing of this link may be left behind.
    checker = connect(worker)
    deadline = time.monotonic() + DEADLINE_S
    while True:
        seen = checker.ask(NUMBERS["seen"])
        # One call is under way: this one.
        if (seen["incoming"], seen["outgoing"], seen["given"], seen["held"]) == (1, 0, 0, 0):
            break
        assert time.monotonic() < deadline, seen
    checker.close()


def connect(worker):
    peer = worker.connect()
    for name, number in NUMBERS.items():
        peer.bind(number, CALLEES, name)
    return peer


def events(peer):
    return peer.ask(NUMBERS["seen"])["events"]


def wait_for_event(peer, event):
    deadline = time.monotonic() + DEADLINE_S
    while event not in events(peer):
        assert time.monotonic() < deadline, events(peer)


def call(peer, name, *args, **options):
    return peer.call(NUMBERS[name], *args, **options)


def ask(peer, name, *args, **options):
    return peer.ask(NUMBERS[name], *args, **options)


def fails(peer, name, *args, **options):
    return peer.error(call(peer, name, *args, **options))


def test_ready_says_its_kind(worker):
    assert worker.ready["kind"] == "calls"


def test_functions_of_every_kind(peer):
    assert ask(peer, "add", 1, 2) == 3
    assert ask(peer, "add", 1, kwargs={"b": 2, "c": 3}) == 6
    assert ask(peer, "where") is True
    assert ask(peer, "here") is True
    value, thread = ask(peer, "plain", [None, 2**70, "\ud800"])
    assert value == [None, 2**70, "\ud800"] and thread == "bireme-calls"
    assert ask(peer, "Counter.made", flags=GET) >= 0


def test_golden_frames_are_understood(peer, worker):
    golden = {frame["name"]: frame for frame in GOLDEN["frames"]}
    fresh = worker.connect()
    fresh.send(Frame(BIND, 0, struct.pack("<I", 1) + encode_value({"file": str(CALLEES), "name": "echo"})))
    # A call with keywords, and one whose arguments come in two frames.
    for name, answer in (("a call with keywords", ERROR_KIND), ("a call without deadline, idempotent", None)):
        fresh.connection.sendall(bytes.fromhex(golden[name]["hex"]))
        frame = fresh.read()
        assert frame.stream == golden[name]["stream"]
        assert (frame.kind == 0x36) if answer == ERROR_KIND else (frame.encode()[4:] == Frame(RESULT, frame.stream, b"\xf6", END).encode()[4:])
    fresh.connection.sendall(bytes.fromhex(golden["the beginning of a call"]["hex"]))
    fresh.connection.sendall(bytes.fromhex(golden["the rest of it"]["hex"]))
    assert fresh.result(golden["the rest of it"]["stream"]) == "abc"
    fresh.close()


ERROR_KIND = "error"


def test_errors_cross_whole(peer):
    error = fails(peer, "fail")
    assert (error["language"], error["type"], error["message"]) == ("python", "ValueError", "on purpose")
    assert "code" not in error
    file, line, column, function, source, language = error["frames"][-1]
    assert (file, function, source, language) == (str(CALLEES), "fail", "raise error from cause", "python")
    assert CALLEES.read_text().splitlines()[line - 1].strip() == source
    assert error["text"].startswith("Traceback") or "KeyError" in error["text"]
    assert error["cause"]["type"] == "KeyError" and error["cause"]["message"] == "'cause'"
    assert error["properties"] == {"status": 404}
    assert error["notes"] in (["a note"], [])
    assert not any("bireme" in frame[0].replace(str(REPOSITORY), "") for frame in error["frames"])


def test_groups_cross_with_their_members(peer):
    error = fails(peer, "fail_several")
    if error["type"] != "NameError":
        assert [(member["type"], member["message"]) for member in error["suppressed"]] == [("ValueError", "one"), ("TypeError", "two")]


@pytest.mark.parametrize("name, said", [("nothing.at.all", "nothing"), ])
def test_what_does_not_exist(peer, name, said):
    error = fails(peer, name)
    assert error["code"] == "BIREME_NOT_FOUND" and said in error["message"] and error["type"] == "CallTargetNotFound"


def test_a_file_and_a_module_that_do_not_exist(peer):
    peer.bind(900, APPS / "no_such_file.py", "f")
    assert peer.error(peer.call(900))["code"] == "BIREME_NOT_FOUND"
    peer.send(Frame(BIND, 0, struct.pack("<I", 901) + encode_value({"module": "no_such_module", "name": "f"})))
    error = peer.error(peer.call(901))
    assert error["code"] == "BIREME_NOT_FOUND" and "no_such_module" in error["message"]
    peer.bind(902, APPS / "imports_missing.py", "f")
    assert peer.error(peer.call(902))["type"] == "ModuleNotFoundError"


def test_modules_by_name(peer):
    peer.send(Frame(BIND, 0, struct.pack("<I", 1000) + encode_value({"module": "math", "name": "sqrt"})))
    assert peer.ask(1000, 9) == 3.0


def test_what_cannot_cross(peer):
    error = fails(peer, "unhashable")
    assert error["code"] == "BIREME_VALUE" and error["message"] == "result: _thread.lock cannot cross"
    assert fails(peer, "echo", 1, 2)["type"] == "TypeError"
    # A set of lists is a value, but none of Python's.
    stream = peer.next_stream
    peer.next_stream += 2
    payload = struct.pack("<IIH", NUMBERS["echo"], 0, 0) + bytes.fromhex("81d90102818100")
    peer.send(Frame(CALL, stream, payload, END))
    assert peer.error(stream)["type"] == "TypeError"
    assert fails(peer, "Counter.made")["message"].startswith("a int cannot be called")


def test_deadlines_reach_the_running_task(peer):
    error = fails(peer, "sleep", 60, "late", timeout_ms=30)
    assert error["code"] == "BIREME_CALL_TIMEOUT" and error["type"] == "CallTimeout"
    assert events(peer)[-2:] == ["late began", "late cancelled"]
    assert fails(peer, "limited", timeout_ms=0)["code"] == "BIREME_CALL_TIMEOUT"
    assert fails(peer, "idle", 0.2, timeout_ms=20)["code"] == "BIREME_CALL_TIMEOUT"


def test_cancelling_reaches_the_running_task(peer):
    stream = call(peer, "sleep", 60, "unwanted")
    wait_for_event(peer, "unwanted began")
    peer.send(Frame(CANCEL, stream, aux=1))
    assert peer.error(stream)["code"] == "BIREME_CALL_CANCELLED"
    assert events(peer)[-1] == "unwanted cancelled"


def test_the_end_of_a_link_cancels_its_calls(peer, worker):
    other = connect(worker)
    call(other, "sleep", 60, "orphan")
    stream = call(other, "forever")
    assert other.result(stream) == STREAM
    other.next(ITEM)
    wait_for_event(peer, "orphan began")
    other.close()
    wait_for_event(peer, "orphan cancelled")
    wait_for_event(peer, "forever closed")


@pytest.mark.parametrize("name, flags, kinds", [
    ("plain", 0, [QUEUED, STARTED, RESULT]), ("later", 0, [QUEUED, STARTED, RESULT]), ("quick", 0, [QUEUED, STARTED, RESULT]),
    ("VERSION", GET, [QUEUED, RESULT]), ("nothing", 0, [QUEUED, ERROR]),
])
def test_a_call_that_waits_for_an_import_has_not_begun(worker, tmp_path, name, flags, kinds):
    module = tmp_path / f"imported_for_{name}.py"
    module.write_text("import bireme\nVERSION = 1\ndef plain(): return 1\nasync def later(): return 1\n@bireme.quick\ndef quick(): return 1\n")
    peer = worker.connect()
    peer.bind(1, module, name)
    stream = peer.call(1, flags=flags)
    assert [(frame := peer.read()).kind for _ in kinds] == kinds and frame.stream == stream
    # It is there now.
    again = peer.call(1, flags=flags)
    assert peer.next(kinds[-1]).stream == again
    peer.close()


def test_the_queue_for_threads_is_bounded(peer):
    # A thread that an earlier test has cancelled runs on.
    while ask(peer, "seen")["pool"][1]:
        pass
    # Two threads, two places in the queue.
    running = [call(peer, "wait_for_gate") for _ in range(2)]
    queued = [call(peer, "wait_for_gate") for _ in range(2)]
    busy = call(peer, "wait_for_gate")
    assert peer.error(busy)["code"] == "BIREME_SERVICE_BUSY"
    assert [peer.next(QUEUED).stream for _ in queued] == queued
    # A place becomes free when one of those that wait is cancelled.
    peer.send(Frame(CANCEL, queued[1], aux=1))
    assert peer.error(queued[1])["code"] == "BIREME_CALL_CANCELLED"
    ask(peer, "open_gate")
    frames = {}
    while len(frames) < 3:
        frame = peer.read()
        if frame.kind == STARTED:
            assert frame.stream == queued[0]
        else:
            assert decode_value(frame.payload) == "open"
            frames[frame.stream] = frame
    assert set(frames) == {*running, queued[0]}
    assert events(peer).count("waiting") == 3


def take(peer, stream, credit=True):
    """All items of a stream, and the frames they came in."""
    items, frames = [], 0
    while True:
        frame = peer.next(ITEM)
        assert frame.stream == stream
        frames += 1
        rest = frame.payload
        while rest:
            # A value's length is known only to who decodes it: try the shortest first.
            for end in range(1, len(rest) + 1):
                try:
                    items.append(decode_value(rest[:end]))
                except ValueError:
                    continue
                rest = rest[end:]
                break
        if frame.flags & END:
            return items, frames
        if credit and frame.payload:
            peer.send(Frame(CREDIT, stream, struct.pack("<I", len(frame.payload))))


@pytest.mark.parametrize("name", ["count", "acount"])
def test_streams(peer, name):
    stream = call(peer, name, 100)
    assert peer.result(stream) == STREAM
    items, frames = take(peer, stream)
    assert items == [f"item {number}" for number in range(100)]
    assert frames < 50, "items that are ready together share a frame"
    assert events(peer)[-1] == f"{name} closed"


def test_other_iterators_are_streams(peer):
    stream = call(peer, "iterators")
    assert peer.result(stream) == STREAM
    assert take(peer, stream)[0] == [1, 2, 3]


@pytest.mark.parametrize("name", ["count", "acount"])
def test_a_stream_waits_for_credit_and_ends_with_its_consumer(peer, name):
    stream = call(peer, name, 100_000, "x" * 60)
    assert peer.result(stream) == STREAM
    received = 0
    while received < 262_144 - 100:
        received += len(peer.next(ITEM).payload)
    assert received <= 262_144
    assert peer.is_silent(0.2)
    peer.send(Frame(CREDIT, stream, struct.pack("<I", 10_000)))
    more = 0
    while more < 10_000 - 100:
        more += len(peer.next(ITEM).payload)
    assert received + more <= 272_144
    peer.send(Frame(CANCEL, stream, aux=1))
    wait_for_event(peer, f"{name} closed")


def test_an_item_beyond_the_window_waits_for_all_of_it(peer):
    stream = call(peer, "sized", 10, 300_000, 10)
    assert peer.result(stream) == STREAM
    assert decode_value(peer.next(ITEM).payload) == b"x" * 10
    assert peer.is_silent(0.1)
    peer.send(Frame(CREDIT, stream, struct.pack("<I", 11)))
    assert decode_value(peer.next(ITEM).payload) == b"x" * 300_000
    peer.send(Frame(CREDIT, stream, struct.pack("<I", 300_005)))
    assert take(peer, stream)[0] == [b"x" * 10]


def test_a_stream_that_breaks(peer):
    stream = call(peer, "broken", 2)
    assert peer.result(stream) == STREAM
    frame = peer.read()
    while frame.kind == ITEM:
        frame = peer.read()
    assert decode_value(frame.payload)["message"] == "the stream broke"


def test_messages_beyond_a_frame(peer):
    assert ask(peer, "large", 3_000_000) == b"x" * 3_000_000
    stream = peer.next_stream
    peer.next_stream += 2
    payload = struct.pack("<IIH", NUMBERS["echo"], 0, 0) + encode_value([b"y" * 2_500_000])
    peer.send(Frame(CALL, stream, payload[: 1 << 20]), Frame(DATA, stream, payload[1 << 20 : 2 << 20]), Frame(DATA, stream, payload[2 << 20 :], END))
    assert peer.result(stream) == b"y" * 2_500_000


def test_arguments_as_annotated(peer):
    uuid = "00010203-0405-0607-0809-0a0b0c0d0e0f"
    shown = ask(peer, "annotated", {"x": 1, "when": "2024-05-06T00:00:00Z"}, "red", "1.5", uuid, "2024-05-06", [1, 2], ["b", "a"], {"x": 2}, kwargs={"more": [{"x": 3}]})
    when = datetime.datetime(2024, 5, 6, tzinfo=datetime.timezone.utc)
    assert f"Point(x=1, when={when!r})" in shown and "Point(x=2, when=None)" in shown and "[Point(x=3, when=None)]" in shown
    assert "Color.RED" in shown and "Decimal('1.5')" in shown and "(1, 2)" in shown and "['a', 'b']" in shown
    assert "blue" in fails(peer, "annotated", {"x": 1}, "blue", 1, uuid, "2024-05-06", [], [])["message"]
    assert "no field 'y'" in fails(peer, "annotated", {"y": 1}, "red", 1, uuid, "2024-05-06", [], [])["message"]


def reference(value_bytes):
    """`(handle, kind, name)` of tag 39006."""
    assert value_bytes[:3] == bytes.fromhex("d9985e")
    return decode_value(value_bytes[3:])


def new(peer, name, *args, **options):
    stream = call(peer, name, *args, flags=NEW, **options)
    return reference(peer.answer_to(stream, RESULT).payload)


def test_objects_stay_until_they_are_released(peer):
    handle, kind, name = new(peer, "Counter", 5)
    assert (kind, name) == ("object", "Counter")
    assert peer.ask(handle, 2, member="add", flags=HANDLE) == 7
    assert peer.ask(handle, 1, member="slowly", flags=HANDLE) == 8
    assert peer.ask(handle, member="value", flags=HANDLE | GET) == 8
    stream = peer.call(handle, member="me", flags=HANDLE)
    assert reference(peer.next(RESULT).payload) == [handle, "object", "Counter"]
    # It came twice, so it is let go of twice.
    peer.send(Frame(RELEASE, 0, struct.pack("<II", handle, 1)))
    assert peer.ask(handle, member="value", flags=HANDLE | GET) == 8
    peer.send(Frame(RELEASE, 0, struct.pack("<II", handle, 1)))
    assert peer.error(peer.call(handle, member="add", flags=HANDLE))["code"] == "BIREME_RELEASED"
    assert events(peer)[-1] == "counter gone"
    handle, _, _ = new(peer, "Counter.of", 3)
    assert peer.error(peer.call(handle, member="nothing", flags=HANDLE))["code"] == "BIREME_NOT_FOUND"
    assert peer.ask(handle, 1, member="add", flags=HANDLE) == 4


@pytest.mark.parametrize("name", ["call_back", "call_back_in_thread"])
def test_callbacks(peer, name):
    callback = bytes.fromhex("d9985e") + encode_value([1, "function", "on_progress"])
    stream = peer.next_stream
    peer.next_stream += 2
    payload = struct.pack("<IIH", NUMBERS[name], 20_000, 0) + b"\x82" + callback + encode_value(5)
    peer.send(Frame(CALL, stream, payload, END))
    frame = peer.next(CALL)
    target, _, member, values = parse_call(frame)
    assert (target, member, decode_value(values), frame.flags) == (1, "", [5], HANDLE | END)
    assert frame.stream % 2 == 0
    # It is called again from within the callback, by the other side: nothing waits for anything.
    assert ask(peer, "plain", 1)[0] == 1
    peer.answer(frame.stream, 50)
    frames = {frame.kind: frame for frame in (peer.read(), peer.read())}
    assert decode_value(frames[RESULT].payload) == (50 if name == "call_back" else [50, "bireme-calls"])
    assert frames[RELEASE].payload == struct.pack("<II", 1, 1)


def test_streams_in_values(peer):
    stream = call(peer, "produce")
    frame = peer.next(RESULT)
    # {"rows": a reference}
    handle, kind, _ = reference(frame.payload[6:])
    assert kind == "stream"
    stream = peer.call(handle, member="@iterate", flags=HANDLE)
    assert peer.result(stream) == STREAM
    assert take(peer, stream)[0] == [0, 1, 2]
    peer.send(Frame(RELEASE, 0, struct.pack("<II", handle, 1)))


@pytest.mark.parametrize("name", ["set_visitor", "set_visitor_quickly", "set_visitor_in_task", "set_visitor_in_batch"])
def test_each_call_has_context_variables_of_its_own(peer, name):
    # As many as there are threads, and once more.
    assert [ask(peer, name, number) for number in range(4)] == [None] * 4


@pytest.mark.parametrize("name", ["visitors", "avisitors", "visitors_of_call"])
def test_a_stream_keeps_its_context_in_all_its_steps(peer, name):
    text = "x" * 10_000
    for _ in range(2):
        stream = call(peer, name, 100, text)
        assert peer.result(stream) == STREAM
        # It stops for credit a few times, and may go on in another thread.
        assert take(peer, stream)[0] == [[None, text]] * 100


def test_a_mark_is_told_before_the_function_runs(worker):
    fresh = worker.connect()
    fresh.bind(1, CALLEES, "stock")
    stream = fresh.call(1, "a")
    golden = next(frame for frame in GOLDEN["frames"] if frame["kind"] == "MARK")
    assert fresh.next(MARK).encode().hex() == golden["hex"]
    assert fresh.result(stream) == "a"
    # Once is enough.
    assert fresh.ask(1, "b") == "b"
    fresh.close()


def test_settings_hold_for_what_is_called_back(python, launcher):
    worker = CallsWorker(python, launcher, APPS, timeout_ms=50, message_bytes_max=65_536)
    try:
        peer = connect(worker)
        assert ask(peer, "echo", 1) == 1
        callback = bytes.fromhex("d9985e") + encode_value([1, "function", "never"])
        peer.send(Frame(CALL, peer.next_stream, struct.pack("<IIH", NUMBERS["call_back"], 0, 0) + b"\x81" + callback, END))
        stream, peer.next_stream = peer.next_stream, peer.next_stream + 2
        frame = peer.next(CALL)
        assert parse_call(frame)[1] == 50
        assert peer.next(CANCEL).stream == frame.stream
        assert peer.error(stream)["code"] == "BIREME_CALL_TIMEOUT"
        assert peer.next(RELEASE)
        assert fails(peer, "large", 70_000)["code"] == "BIREME_TOO_LARGE"
    finally:
        worker.close()


def test_batches(peer):
    before = len(events(peer))
    streams = [call(peer, "squares", number) for number in (1, 2, 13, 4)]
    results = {}
    for _ in streams:
        frame = peer.read()
        results[frame.stream] = decode_value(frame.payload)
    assert [results[stream] for stream in (streams[0], streams[1], streams[3])] == [1, 4, 16]
    assert (results[streams[2]]["type"], results[streams[2]]["message"]) == ("ValueError", "thirteen")
    assert events(peer)[before:] == ["batch of 4 in bireme-calls"]
    # Fewer than it could hold, after the longest wait.
    assert ask(peer, "squares", 5) == 25
    assert "was called for 1 and returned 0" in fails(peer, "too_few", 1)["message"]


def test_one_that_was_cancelled_is_left_out_of_the_batch(peer):
    before = len(events(peer))
    streams = [call(peer, "squares", number) for number in (1, 2)]
    peer.send(Frame(CANCEL, streams[0], aux=1))
    answers = {frame.stream: frame for frame in (peer.read(), peer.read())}
    assert decode_value(answers[streams[0]].payload)["code"] == "BIREME_CALL_CANCELLED"
    assert decode_value(answers[streams[1]].payload) == 4
    assert events(peer)[before:] == ["batch of 1 in bireme-calls"]


def test_threads_that_wait_for_calls_of_their_own_are_not_counted(peer):
    """Callbacks within callbacks, far deeper than there are threads."""
    callback = bytes.fromhex("d9985e") + encode_value([7, "function", "deeper"])
    waiting = []
    for _ in range(20):
        stream = peer.next_stream
        peer.next_stream += 2
        peer.send(Frame(CALL, stream, struct.pack("<IIH", NUMBERS["call_back_in_thread"], 20_000, 0) + b"\x81" + callback, END))
        waiting.append((stream, peer.next(CALL).stream))
    for stream, back in reversed(waiting):
        peer.answer(back, "done")
        frame = peer.read()
        while frame.kind == RELEASE:
            frame = peer.read()
        assert decode_value(frame.payload)[0] == "done" and frame.stream == stream


@pytest.mark.parametrize("frames, said", [
    ([Frame(CALL, 2, struct.pack("<IIH", 1, 0, 0) + b"\x80", END)], "CALL with the stream id 2"),
    ([Frame(CALL, 1, b"abc", END)], "CALL that ends early"),
    ([Frame(CALL, 1, struct.pack("<IIH", 9999, 0, 0) + b"\x80", END)], "never bound"),
    ([Frame(CALL, 1, struct.pack("<IIH", 1, 0, 0) + b"\x81", END)], "more items than bytes"),
    ([Frame(CALL, 1, struct.pack("<IIH", 1, 0, 0) + b"\xa0", END)], "not an array"),
    ([Frame(CALL, 1, struct.pack("<IIH", 1, 0, 0) + b"\x80\x80", END)], "bytes after"),
    ([Frame(CANCEL, 5, aux=1)], "never opened"),
    ([Frame(RESULT, 1, b"\xf6", END)], "never opened"),
    ([Frame(BIND, 0, b"ab")], "BIND without a number"),
    ([Frame(BIND, 0, struct.pack("<I", 1) + b"\xa0")], "BIND of a number in use"),
    ([Frame(RELEASE, 0, struct.pack("<II", 77, 1))], "RELEASE of what is not held"),
    ([Frame(DATA, 0, b"")], "Data on stream 0"),
    ([Frame(0x10, 1, b"", END)], "Request"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_protocol_errors_end_the_link_and_nothing_else(peer, worker, frames, said):
    other = connect(worker)
    other.send(*frames)
    while (frame := other.read()) is not None:
        assert frame.kind != RESULT
    worker.front.wait_for_output(said)
    assert ask(peer, "echo", 1) == 1


@pytest.mark.parametrize("hello", [{"token": "wrong"}, {"link": 0}], ids=str)
def test_who_does_not_know_the_secret_is_turned_away(worker, hello):
    peer = worker.connect(**hello)
    assert peer.read() is None


def test_leaves_when_its_callers_have(python, launcher):
    worker = CallsWorker(python, launcher, APPS)
    try:
        peer = connect(worker)
        handle, _, _ = new(peer, "Counter", 1)
        worker.front.control.send(Frame(DRAIN))
        # It goes on as long as it is needed.
        assert peer.ask(handle, 1, member="add", flags=HANDLE) == 2
        assert worker.front.process.poll() is None
        peer.close()
        assert worker.front.process.wait(DEADLINE_S) == 0
    finally:
        worker.close()


@pytest.mark.parametrize("target", ["raw_asgi:app", "raw_wsgi:app"])
def test_workers_with_an_application_take_calls_too(python, launcher, target):
    worker = CallsWorker(python, launcher, APPS, target=target)
    try:
        peer = connect(worker)
        assert ask(peer, "add", 1, 2) == 3
        assert ask(peer, "plain", 1)[0] == 1
        assert ask(peer, "where") is True
        worker.front.links[0].close()
        worker.front.control.send(Frame(DRAIN))
        peer.close()
        assert worker.front.process.wait(DEADLINE_S) == 0, worker.front.output()
    finally:
        worker.close()
