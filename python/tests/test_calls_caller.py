"""A Python process that calls: every way in which its calls can end, against a broker and workers that the test plays.

The caller runs in the interpreter of the tests, on a loop in a thread of its own or without one; the test plays the others.
"""

import asyncio
import concurrent.futures
import gc
import json
import socket
import struct
import threading
import time
import traceback

import pytest

from call_links import (
    BIND, CALL, CANCEL, CREDIT, ERROR, GET, HANDLE, IDEMPOTENT, ITEM, MARK, MEMORY, NEW, QUEUED, RELEASE, RESULT, STREAM, TOKEN, FakeBroker, decode_value,
    encode_value, parse_call,
)
from conftest import REPOSITORY
from fake_front import DEADLINE_S, END, Frame

import bireme
from bireme import CallError, CallTimeout, CallTargetNotFound, CannotCross, JsError, Released, ServiceBusy, WorkerLost, calls, node
from bireme.remote import Module

GOLDEN = {frame["name"]: frame for frame in json.loads((REPOSITORY / "protocol/golden/calls.json").read_text("utf-8"))["frames"]}
ERRORS = json.loads((REPOSITORY / "protocol/golden/calls.json").read_text("utf-8"))["errors"]


class Caller:
    """An asyncio loop in a thread, as a script's or an application's."""

    def __init__(self):
        self.ready = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)
        self.thread.start()
        assert self.ready.wait(DEADLINE_S)

    async def _main(self):
        self.loop = asyncio.get_running_loop()
        self.stop = asyncio.Event()
        self.ready.set()
        await self.stop.wait()

    def run(self, coroutine):
        """A future of a coroutine that runs there."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def close(self):
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join(DEADLINE_S)
        assert not self.thread.is_alive()

    def left(self):
        """What is under way on its links, and the tasks that run, but for the one that waits for the end."""

        async def look():
            counts = [link.counts() for link in calls.hub_of(self.loop).links]
            return counts, len(asyncio.all_tasks()) - 2

        return self.run(look()).result(DEADLINE_S)


@pytest.fixture
def broker(monkeypatch):
    broker = FakeBroker()
    monkeypatch.setenv("BIREME_BROKER", broker.path)
    monkeypatch.setenv("BIREME_BROKER_TOKEN", TOKEN)
    yield broker
    broker.close()


@pytest.fixture
def caller(broker):
    caller = Caller()
    yield caller
    caller.close()


@pytest.fixture
def js(broker):
    """A module whose places no other test has asked for."""
    return Module(object(), {"language": "node", "file": "/app/model.js"}, "./model.js")


@pytest.fixture
def worker(broker):
    worker = broker.worker("test#1")
    broker.set_workers(worker)
    return worker


async def call(function, *args, **kwargs):
    return await function(*args, **kwargs)


def result(future):
    return future.result(DEADLINE_S)


def meet(worker):
    """The link of the caller, after the BIND of what it calls."""
    link = worker.meet()
    link.bound = link.next(BIND)
    return link


def test_frames_are_the_golden_ones(broker, caller, worker):
    module = Module(object(), {"language": "python", "file": "/app/model.py"}, "./model.py")
    broker.options = {"timeout_ms": 30000}
    first = caller.run(call(module.predict, 1, "a"))
    link = worker.meet()
    assert link.read().encode().hex() == GOLDEN["a function of a file"]["hex"]
    assert link.read().encode().hex() == GOLDEN["a call"]["hex"]
    second = caller.run(call(module.predict, 1, top=3))
    assert link.read().encode().hex() == GOLDEN["a call with keywords"]["hex"]
    third = caller.run(call(module.predict.with_(timeout=None, idempotent=True)))
    assert link.read().encode().hex() == GOLDEN["a call without deadline, idempotent"]["hex"]
    link.send(Frame(RESULT, 5, b"\xf6", END))
    link.connection.sendall(bytes.fromhex(GOLDEN["a result"]["hex"]) + bytes.fromhex(GOLDEN["the result null"]["hex"]))
    assert (result(first), result(second), result(third)) == ({"y": 0.5}, None, None)
    assert broker.questions == [{"id": 1, "language": "python", "file": "/app/model.py"}]


def test_results_in_any_order(caller, worker, js):
    futures = [caller.run(call(js.f, number)) for number in range(3)]
    link = meet(worker)
    frames = [link.next(CALL) for _ in futures]
    for frame in reversed(frames):
        link.answer(frame.stream, decode_value(parse_call(frame)[3])[0] * 10)
    assert [result(future) for future in futures] == [0, 10, 20]
    assert caller.left() == ([{"outgoing": 0, "incoming": 0, "given": 0, "held": 0}], 0)


@pytest.mark.parametrize("golden", ERRORS, ids=lambda golden: golden["name"])
def test_errors_are_raised(caller, worker, js, golden):
    future = caller.run(call(js.f))
    link = meet(worker)
    link.send(Frame(ERROR, link.next(CALL).stream, bytes.fromhex(golden["hex"]), END))
    if golden.get("code") == "BIREME_CALL_CANCELLED":
        with pytest.raises(concurrent.futures.CancelledError):
            future.result(DEADLINE_S)
        return
    error = future.exception(DEADLINE_S)
    assert isinstance(error, CallError)
    if "code" in golden:
        assert error.code == golden["code"] and type(error).__name__ == golden["type"] and str(error) == golden["message"]
        return
    assert type(error).__name__.startswith({"python": "PythonError", "javascript": "JsError"}[golden["language"]])
    assert (error.type, error.message, error.frames, error.remote_stack) == (golden["type"], golden["message"], golden["frames"], golden["text"])
    assert error.properties == golden["properties"] and getattr(error, "__notes__", []) == golden["notes"]
    if golden["properties"]:
        assert error.status == 404
    if "cause" in golden:
        assert (error.__cause__.type, error.__cause__.message) == (golden["cause"]["type"], golden["cause"]["message"])
    if "suppressed" in golden and hasattr(__builtins__, "ExceptionGroup"):
        assert [member.type for member in error.exceptions] == ["ValueError"]


def test_one_traceback_shows_the_frames_of_both_languages(caller, worker, js, tmp_path):
    source = tmp_path / "page.js"
    source.write_text("\n".join(f"line {number}" for number in range(1, 20)))
    frames = [[str(source), 7, 3, "render", "line 7", "javascript"], ["/gone/bundle.js", 900, 1, "", "bundled()", "javascript"]]

    async def outermost():
        await call(js.f)

    future = caller.run(outermost())
    link = meet(worker)
    error = {"language": "javascript", "type": "TypeError", "message": "no", "frames": frames, "text": "TypeError: no\n  at render", "suppressed": [], "notes": ["a note"], "properties": {}}
    link.send(Frame(ERROR, link.next(CALL).stream, encode_value(error), END))
    text = "".join(traceback.format_exception(future.exception(DEADLINE_S)))
    places = ["in outermost", "in call", f'"{source}", line 7, in render', "    line 7", '"/gone/bundle.js", line 900, in <anonymous>', "    bundled()", "JsError: TypeError: no"]
    assert [text.index(place) for place in places] == sorted(text.index(place) for place in places)
    described = bireme.errors.describe(future.exception(DEADLINE_S))
    assert [frame[3] for frame in described["frames"]][-3:] == ["call", "render", "<anonymous>"]
    assert (described["language"], described["type"], described["message"]) == ("javascript", "TypeError", "no")


def test_a_deadline_ends_the_call_on_both_sides(caller, worker, js):
    future = caller.run(call(js.f.with_(timeout=0.05)))
    link = meet(worker)
    frame = link.next(CALL)
    assert 0 < parse_call(frame)[1] <= 50
    error = future.exception(DEADLINE_S)
    assert isinstance(error, CallTimeout) and isinstance(error, TimeoutError)
    assert str(error) == "f did not answer within 50 ms"
    cancel = link.next(CANCEL)
    assert (cancel.stream, cancel.aux) == (frame.stream, 3)
    # What comes after it is for nobody.
    link.answer(frame.stream, 1)
    again = caller.run(call(js.f))
    link.answer(link.next(CALL).stream, 2)
    assert result(again) == 2


def test_cancelling_the_task_cancels_the_call(caller, worker, js):
    future = caller.run(call(js.f))
    link = meet(worker)
    frame = link.next(CALL)
    future.cancel()
    cancel = link.next(CANCEL)
    assert (cancel.stream, cancel.aux) == (frame.stream, 1)
    assert caller.left()[0][0]["outgoing"] == 0


def test_one_that_is_lost_has_an_unknown_outcome(caller, worker, js):
    future = caller.run(call(js.f))
    link = meet(worker)
    link.next(CALL)
    link.close()
    error = future.exception(DEADLINE_S)
    assert isinstance(error, WorkerLost) and error.started == "unknown" and "test#1" in str(error)


@pytest.mark.parametrize("how", ["queued", "idempotent"])
def test_what_has_not_begun_or_is_idempotent_goes_to_another_worker(broker, caller, worker, js, how):
    function = js.f.with_(idempotent=True) if how == "idempotent" else js.f
    future = caller.run(call(function, "argument"))
    link = meet(worker)
    frame = link.next(CALL)
    assert bool(frame.flags & IDEMPOTENT) == (how == "idempotent")
    if how == "queued":
        link.send(Frame(QUEUED, frame.stream))
    second = broker.worker("test#2")
    link.close()
    broker.set_workers(second)
    link = meet(second)
    frame = link.next(CALL)
    assert decode_value(parse_call(frame)[3]) == ["argument"]
    link.answer(frame.stream, "done")
    assert result(future) == "done"


@pytest.mark.parametrize("again", [True, False])
def test_a_function_that_its_worker_marks_is_called_again(broker, caller, worker, js, again):
    function = js.f if again else js.f.with_(idempotent=False)
    future = caller.run(call(function))
    link = meet(worker)
    link.connection.sendall(bytes.fromhex(GOLDEN["a function that may be called twice"]["hex"]))
    assert not link.next(CALL).flags & IDEMPOTENT
    second = broker.worker("test#2")
    link.close()
    if not again:
        assert isinstance(future.exception(DEADLINE_S), WorkerLost)
        return
    broker.set_workers(second)
    link = meet(second)
    link.answer(link.next(CALL).stream, "done")
    assert result(future) == "done"


def test_a_worker_that_is_too_busy_for_memory_is_called_without(caller, worker, js, monkeypatch):
    monkeypatch.setattr(calls, "MEMORY_TIMEOUT_S", 0.02)
    future = caller.run(call(js.f, b"x" * 100_000))
    link = worker.meet(answers=False)
    assert worker.offers_memory
    link.next(BIND)
    # The bytes are in the message, and not in memory of which nobody knows whether it can be seen.
    frame = link.next(CALL)
    assert decode_value(parse_call(frame)[3]) == [b"x" * 100_000]
    # What comes late is heard all the same.
    link.send(Frame(MEMORY, 0, aux=0))
    assert link.next(MEMORY).aux == 0
    link.answer(frame.stream, None)
    assert result(future) is None


def test_a_call_is_tried_at_most_three_times(broker, caller, js):
    workers = [broker.worker(f"test#{number}") for number in range(4)]
    broker.set_workers(workers[0])
    future = caller.run(call(js.f.with_(idempotent=True)))
    for worker, following in zip(workers[:3], workers[1:]):
        link = meet(worker)
        link.next(CALL)
        broker.set_workers(following)
        link.close()
    error = future.exception(DEADLINE_S)
    assert isinstance(error, WorkerLost) and error.started == "unknown"


def test_calls_are_spread_over_workers(broker, caller, js):
    workers = [broker.worker(f"test#{number}") for number in range(2)]
    broker.set_workers(*workers)
    futures = [caller.run(call(js.f, 0))]
    links = [worker.meet() for worker in workers]
    # The first is under way at one of them; now both can take calls.
    futures += [caller.run(call(js.f, number)) for number in range(1, 4)]
    for link in links:
        link.next(BIND)
        for frame in [link.next(CALL), link.next(CALL)]:
            link.answer(frame.stream, "x")
    assert [result(future) for future in futures] == ["x"] * 4


def test_calls_wait_for_a_worker_until_their_deadline(broker, caller, js):
    broker.set_workers()
    late = caller.run(call(js.f.with_(timeout=0.05)))
    assert isinstance(late.exception(DEADLINE_S), CallTimeout)
    future = caller.run(call(js.f))
    worker = broker.worker("test#1")
    broker.set_workers(worker)
    link = meet(worker)
    link.answer(link.next(CALL).stream, 1)
    assert result(future) == 1


def test_as_many_calls_wait_for_a_worker_as_may_be_under_way(broker, caller, js):
    broker.options = {"timeout_ms": 20_000, "in_flight_max": 2}
    broker.set_workers()
    futures = [caller.run(call(js.f)) for _ in range(3)]
    (refused,), waiting = concurrent.futures.wait(futures, DEADLINE_S, concurrent.futures.FIRST_COMPLETED)
    assert isinstance(refused.exception(), ServiceBusy)
    worker = broker.worker("test#1")
    broker.set_workers(worker)
    link = meet(worker)
    for frame in [link.next(CALL), link.next(CALL)]:
        link.answer(frame.stream, 1)
    assert [result(future) for future in waiting] == [1, 1]


def test_calls_that_wait_for_a_worker_hear_that_the_broker_has_gone(broker, caller, js):
    broker.set_workers()
    future = caller.run(call(js.f))
    deadline = time.monotonic() + DEADLINE_S
    while not broker.links and time.monotonic() < deadline:
        time.sleep(0.01)
    # Held until the question is answered.
    with broker.lock:
        broker.links[0].connection.shutdown(socket.SHUT_RDWR)
    assert future.exception(DEADLINE_S).code == "BIREME_NO_BROKER"


def test_a_worker_that_leaves_is_left_when_nothing_is_under_way(broker, caller, worker, js):
    first = caller.run(call(js.f))
    link = meet(worker)
    stream = link.next(CALL).stream
    second = broker.worker("test#2")
    broker.set_workers(second)
    other = second.meet()
    future = caller.run(call(js.f))
    other.next(BIND)
    other.answer(other.next(CALL).stream, "second")
    assert result(future) == "second"
    link.answer(stream, "first")
    assert result(first) == "first"
    assert link.read() is None


def test_too_many_under_way(broker, caller, worker, js):
    broker.options = {"timeout_ms": 20_000, "in_flight_max": 2}
    futures = [caller.run(call(js.f)) for _ in range(2)]
    link = meet(worker)
    frames = [link.next(CALL) for _ in futures]
    assert isinstance(caller.run(call(js.f)).exception(DEADLINE_S), ServiceBusy)
    for frame in frames:
        link.answer(frame.stream, None)
    assert [result(future) for future in futures] == [None, None]


@pytest.mark.parametrize("code, kind", [("BIREME_UNAVAILABLE", CallError), ("BIREME_NOT_FOUND", CallTargetNotFound)])
def test_what_the_broker_refuses(broker, caller, js, code, kind):
    broker.refusal = {"code": code, "message": "service node did not start: no node", "hint": "install it"}
    error = caller.run(call(js.f)).exception(DEADLINE_S)
    assert type(error) is kind and error.code == code and "install it" in str(error)
    # A later call asks again.
    broker.refusal = None
    worker = broker.worker("test#1")
    broker.set_workers(worker)
    future = caller.run(call(js.f))
    link = meet(worker)
    link.answer(link.next(CALL).stream, 1)
    assert result(future) == 1


def test_no_broker(caller, js, monkeypatch, tmp_path):
    monkeypatch.setenv("BIREME_BROKER", str(tmp_path / "nothing.sock"))
    error = caller.run(call(js.f)).exception(DEADLINE_S)
    assert error.code == "BIREME_NO_BROKER" and "can't be reached" in str(error)


def test_what_cannot_cross_is_raised_before_anything_is_sent(caller, worker, js):
    async def main():
        with pytest.raises(CannotCross, match=r"args\[0\].lock: _thread.lock cannot cross"):
            await js.f({"lock": threading.Lock()})
        with pytest.raises(CannotCross, match=r"kwargs.top: object cannot cross"):
            await js.f(top=object())
        return await js.f(1)

    future = caller.run(main())
    link = meet(worker)
    frame = link.next(CALL)
    assert decode_value(parse_call(frame)[3]) == [1]
    link.answer(frame.stream, 1)
    assert result(future) == 1


def test_a_message_that_is_too_large(broker, caller, worker, js):
    broker.options = {"timeout_ms": 20_000, "message_bytes_max": 1000}
    future = caller.run(call(js.f, "x" * 2000))
    link = worker.meet()
    error = future.exception(DEADLINE_S)
    assert isinstance(error, CannotCross) and error.code == "BIREME_TOO_LARGE"
    link.close()


def begin_stream(link):
    frame = link.next(CALL)
    link.send(Frame(RESULT, frame.stream, b"", STREAM | END))
    return frame.stream


def test_streams(caller, worker, js):
    async def main():
        return [item async for item in js.rows(1)]

    future = caller.run(main())
    link = meet(worker)
    stream = begin_stream(link)
    link.send(Frame(ITEM, stream, encode_value("a") + encode_value([1])), Frame(ITEM, stream, b"", 0), Frame(ITEM, stream, encode_value("b"), END))
    assert result(future) == ["a", [1], "b"]
    assert caller.left()[0][0]["outgoing"] == 0


def test_credit_is_granted_as_items_are_taken(caller, worker, js):
    taken = threading.Semaphore(0)

    async def main():
        async for _ in js.rows():
            await asyncio.get_running_loop().run_in_executor(None, taken.acquire)

    future = caller.run(main())
    link = meet(worker)
    stream = begin_stream(link)
    item = encode_value(b"x" * 65_000)
    link.send(Frame(ITEM, stream, item * 4))
    assert link.is_silent(0.1)
    for _ in range(3):
        taken.release()
    frame = link.next(CREDIT)
    assert struct.unpack("<I", frame.payload)[0] >= 131_072 and frame.stream == stream
    for _ in range(2):
        taken.release()
    link.send(Frame(ITEM, stream, b"", END))
    assert result(future) is None


def test_leaving_a_stream_ends_its_producer(caller, worker, js):
    async def main():
        async for item in js.rows():
            return item

    future = caller.run(main())
    link = meet(worker)
    stream = begin_stream(link)
    link.send(Frame(ITEM, stream, encode_value(1)))
    assert result(future) == 1
    cancel = link.next(CANCEL)
    assert (cancel.stream, cancel.aux) == (stream, 1)


@pytest.mark.parametrize("how", ["error", "lost"])
def test_a_stream_that_breaks(caller, worker, js, how):
    async def main():
        items = []
        with pytest.raises((JsError, WorkerLost)) as caught:
            async for item in js.rows():
                items.append(item)
        return items, caught.value

    future = caller.run(main())
    link = meet(worker)
    stream = begin_stream(link)
    link.send(Frame(ITEM, stream, encode_value(1)))
    if how == "error":
        link.send(Frame(ERROR, stream, encode_value({"language": "javascript", "type": "Error", "message": "broke", "frames": [], "text": ""}), END))
    else:
        link.close()
    items, error = result(future)
    assert items == [1] and isinstance(error, JsError if how == "error" else WorkerLost)


def test_what_is_no_stream(caller, worker, js):
    async def main():
        async for _ in js.f():
            pass

    future = caller.run(main())
    link = meet(worker)
    link.answer(link.next(CALL).stream, [1, 2])
    assert "f gave no stream, but a list" in str(future.exception(DEADLINE_S))


def test_an_item_longer_than_a_frame(caller, worker, js):
    async def main():
        return [len(item) async for item in js.rows()]

    future = caller.run(main())
    link = meet(worker)
    stream = begin_stream(link)
    item = encode_value("x" * 1_500_000)
    link.send(Frame(ITEM, stream, item[: 1 << 20], 0x02), Frame(0x12, stream, item[1 << 20 :], END), Frame(ITEM, stream, encode_value("y"), END))
    assert result(future) == [1_500_000, 1]


def test_callbacks_and_their_release(caller, worker, js):
    seen = []

    def plain(value):
        seen.append((value, threading.current_thread().name))
        return value * 2

    async def on_loop(value):
        return value * 3

    future = caller.run(call(js.f, plain, on_loop))
    link = meet(worker)
    frame = link.next(CALL)
    values = parse_call(frame)[3]
    assert values == b"\x82" + bytes.fromhex("d9985e") + encode_value([1, "function", "plain"]) + bytes.fromhex("d9985e") + encode_value([2, "function", "on_loop"])
    for handle, answer in ((1, 10), (2, 15)):
        assert link.ask(handle, 5, flags=HANDLE) == answer
    assert seen == [(5, "bireme-calls")]
    link.send(Frame(RELEASE, 0, struct.pack("<II", 1, 1)), Frame(RELEASE, 0, struct.pack("<II", 2, 1)))
    link.answer(frame.stream, None)
    assert result(future) is None
    assert caller.left()[0] == [{"outgoing": 0, "incoming": 0, "given": 0, "held": 0}]


def handle(number, kind, name):
    return bytes.fromhex("d9985e") + encode_value([number, kind, name])


def test_objects(caller, worker, js):
    async def main():
        model = await js.Model.new(rate=2)
        assert repr(model) == "<remote Model object>"
        value = await model.predict(5)
        size = await model.size.get()
        same = await js.f(model)
        assert same is None
        with pytest.raises(AttributeError):
            model.__wrapped__
        return value, size

    future = caller.run(main())
    link = meet(worker)
    frame = link.next(CALL)
    assert frame.flags & NEW and parse_call(frame)[3] == b"\x80" + encode_value({"rate": 2})
    link.send(Frame(RESULT, frame.stream, handle(300, "object", "Model"), END))
    frame = link.next(CALL)
    assert parse_call(frame)[0::2] == (300, "predict") and frame.flags == HANDLE | END
    link.answer(frame.stream, 10)
    frame = link.next(CALL)
    assert parse_call(frame)[0::2] == (300, "size") and frame.flags == HANDLE | GET | END
    link.answer(frame.stream, 3)
    link.next(BIND)
    frame = link.next(CALL)
    # It goes home as what it is there.
    assert parse_call(frame)[3] == b"\x81" + bytes.fromhex("d99860") + encode_value([300])
    link.answer(frame.stream, None)
    assert result(future) == (10, 3)
    gc.collect()
    assert link.next(RELEASE).payload == struct.pack("<II", 300, 1)


def test_an_object_whose_owner_has_gone(caller, worker, js):
    async def main():
        model = await js.Model.new()
        await asyncio.get_running_loop().run_in_executor(None, closed.wait)
        while True:
            try:
                await model.predict()
            except Released as error:
                return error

    closed = threading.Event()
    future = caller.run(main())
    link = meet(worker)
    link.send(Frame(RESULT, link.next(CALL).stream, handle(1, "object", "Model"), END))
    link.close()
    # The caller has seen it when its links are none.
    while caller.left()[0]:
        pass
    closed.set()
    assert "owns it has ended" in str(result(future))


def test_streams_and_functions_inside_values(caller, worker, js):
    async def main():
        found = await js.f()
        items = [item async for item in found["rows"]]
        return items, await found["then"](1)

    future = caller.run(main())
    link = meet(worker)
    stream = link.next(CALL).stream
    link.send(Frame(RESULT, stream, b"\xa2" + encode_value("rows") + handle(4, "stream", "rows") + encode_value("then") + handle(5, "function", "then"), END))
    frame = link.next(CALL)
    assert parse_call(frame)[0::2] == (4, "@iterate")
    link.send(Frame(RESULT, frame.stream, b"", STREAM | END), Frame(ITEM, frame.stream, encode_value(1), END))
    frame = link.next(CALL)
    assert parse_call(frame)[0] == 5
    link.answer(frame.stream, "after")
    assert result(future) == ([1], "after")


def in_thread(function, *args, **kwargs):
    return concurrent.futures.ThreadPoolExecutor(1).submit(function, *args, **kwargs)


@pytest.fixture
def threads_only(broker):
    """Threads without a loop, and a hub that no other test has used."""
    calls._for_threads = None
    yield
    hub, calls._for_threads = calls._for_threads, None
    if hub is not None:
        hub.loop.call_soon_threadsafe(hub.close)


def test_the_blocking_form(worker, js, threads_only):
    future = in_thread(js.f.sync, 1)
    link = meet(worker)
    link.answer(link.next(CALL).stream, "one")
    assert result(future) == "one"
    several = [in_thread(js.f.sync, number) for number in range(3)]
    for _ in several:
        frame = link.next(CALL)
        link.answer(frame.stream, decode_value(parse_call(frame)[3])[0])
    assert [result(future) for future in several] == [0, 1, 2]
    late = in_thread(js.f.with_(timeout=0.05).sync)
    link.next(CALL)
    assert isinstance(late.exception(DEADLINE_S), CallTimeout)
    assert link.next(CANCEL).aux == 3
    lost = in_thread(js.f.sync)
    link.next(CALL)
    link.close()
    assert isinstance(lost.exception(DEADLINE_S), WorkerLost)


def test_streams_in_the_blocking_form(worker, js, threads_only):
    future = in_thread(lambda: list(js.rows.sync()))
    link = meet(worker)
    stream = begin_stream(link)
    link.send(Frame(ITEM, stream, encode_value("a")))
    link.send(Frame(ITEM, stream, encode_value("b"), END))
    assert result(future) == ["a", "b"]


def test_a_callback_of_theirs_in_a_plain_function(worker, js, threads_only):
    def work(progress):
        return [progress(number) for number in range(2)]

    future = in_thread(js.f.sync, work)
    link = meet(worker)
    frame = link.next(CALL)
    stream = link.next_stream
    link.next_stream += 2
    link.send(Frame(CALL, stream, struct.pack("<IIH", 1, 0, 0) + b"\x81" + handle(9, "function", "progress"), HANDLE | END))
    for number in range(2):
        back = link.next(CALL)
        assert parse_call(back)[0] == 9 and decode_value(parse_call(back)[3]) == [number]
        link.answer(back.stream, number + 100)
    assert link.result(stream) == [100, 101]
    link.answer(frame.stream, None)
    assert result(future) is None


def test_the_wrong_form_says_so(caller, js):
    async def main():
        with pytest.raises(RuntimeError, match=r"f.sync\(…\) would stop the event loop that runs in this thread: await f\(…\) instead"):
            js.f.sync()

    caller.run(main()).result(DEADLINE_S)
    with pytest.raises(RuntimeError, match=r"no event loop runs in this thread: call f.sync\(…\)"):
        js.f()


def test_links_end_with_their_loop(broker, worker, js):
    caller = Caller()
    future = caller.run(call(js.f))
    link = meet(worker)
    link.answer(link.next(CALL).stream, 1)
    assert result(future) == 1
    caller.close()
    assert link.read() is None


def test_paths_are_relative_to_the_calling_file():
    module = node("./render.js")
    assert module.question == {"language": "node", "file": __file__.rsplit("/", 1)[0] + "/render.js"}
    assert node("./render.js").page is module.page
    assert node("lodash").question == {"language": "node", "module": "lodash"}
    assert module.api.v1.render.__name__ == "api.v1.render"
    assert node("./render.js", service="web").question["service"] == "web"


@pytest.mark.parametrize("frames, said", [
    ([Frame(RESULT, 77, b"\xf6", END)], "never opened"),
    ([Frame(RESULT, 1, b"\xff", END)], "not sent"),
    ([Frame(ITEM, 1, b"\xf6")], "ITEM before"),
    ([Frame(ERROR, 1, encode_value({"language": 1}), END)], "wrong shape"),
    ([Frame(CALL, 1, b"", END)], "CALL with the stream id 1"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_what_breaks_the_protocol_loses_the_worker(caller, worker, js, frames, said, capsys):
    future = caller.run(call(js.f))
    link = meet(worker)
    link.next(CALL)
    link.send(*frames)
    assert isinstance(future.exception(DEADLINE_S), WorkerLost)
    assert link.read() is None
    assert said in capsys.readouterr().err


def test_many_calls_leave_nothing_behind(caller, worker, js):
    async def main():
        for _ in range(20):
            await asyncio.gather(*[js.f(number, [number] * 3, {"a": number}) for number in range(100)])
        gc.collect()
        before = len(gc.get_objects())
        for _ in range(20):
            await asyncio.gather(*[js.f(number, [number] * 3, {"a": number}) for number in range(100)])
        gc.collect()
        return len(gc.get_objects()) - before

    future = caller.run(main())
    link = meet(worker)
    for _ in range(4000):
        frame = link.next(CALL)
        link.answer(frame.stream, None)
    assert abs(result(future)) < 200
    assert caller.left() == ([{"outgoing": 0, "incoming": 0, "given": 0, "held": 0}], 0)


def test_a_batch_outlives_a_loop_that_ended_while_it_was_gathered():
    @bireme.batch(max_size=8, max_wait_ms=1)
    async def doubled(values):
        return [value * 2 for value in values]

    async def end_early():
        task = asyncio.ensure_future(doubled(1))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(end_early())
    assert asyncio.run(asyncio.wait_for(doubled(2), DEADLINE_S)) == 4
