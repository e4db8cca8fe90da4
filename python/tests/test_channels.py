"""What Channels asks of a channel layer ("Channel Layer Specification" in its documentation), in one process."""

import asyncio
import pathlib
import sys

import pytest

pytest.importorskip("channels")
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "src"))

from bireme.channels import ChannelLayer  # noqa: E402
from channels.exceptions import ChannelFull  # noqa: E402


def check(contract, **settings):
    async def run():
        layer = ChannelLayer(**settings)
        await asyncio.wait_for(contract(layer), 10)
        await layer.close()

    asyncio.run(run())


async def is_silent(layer, channel):
    waiting = asyncio.ensure_future(layer.receive(channel))
    await asyncio.sleep(0)
    quiet = not waiting.done()
    waiting.cancel()
    await asyncio.wait((waiting,))
    return quiet


def test_messages_come_in_order_and_are_copies():
    async def contract(layer):
        message = {"type": "t", "list": [1, {"bytes": b"\x00\xff"}], "none": None}
        for number in range(3):
            await layer.send("channel", message | {"number": number})
        message["list"].append("changed")
        for number in range(3):
            assert await layer.receive("channel") == {
                "type": "t", "list": [1, {"bytes": b"\x00\xff"}], "none": None, "number": number
            }
        assert await is_silent(layer, "channel")

    check(contract)


def test_a_full_channel_says_so():
    async def contract(layer):
        for _ in range(3):
            await layer.send("channel", {"type": "t"})
        with pytest.raises(ChannelFull):
            await layer.send("channel", {"type": "t"})
        for _ in range(5):
            await layer.send("large.one", {"type": "t"})

    check(contract, capacity=3, channel_capacity={"large.*": 5})


def test_names_are_checked():
    async def contract(layer):
        for name in ("¯\\_(ツ)_/¯", "chat", "x" * 101, 12, ""):
            if name != "chat":
                with pytest.raises(TypeError):
                    await layer.send(name, {"type": "t"})
                with pytest.raises(TypeError):
                    await layer.group_add(name, "channel")
        with pytest.raises(TypeError):
            await layer.send("channel", "no dict")

    check(contract)


def test_new_channels_belong_to_their_worker():
    async def contract(layer):
        one, other = await layer.new_channel(), await layer.new_channel("mine")
        assert one != other and "!" in one and other.startswith("mine.")
        await layer.send(one, {"type": "for one"})
        await layer.send(other, {"type": "for the other"})
        assert (await layer.receive(other))["type"] == "for the other"
        assert (await layer.receive(one))["type"] == "for one"
        with pytest.raises(ValueError):
            await layer.receive("specific.another!x")

    check(contract)


def test_a_receive_that_is_cancelled_takes_nothing():
    async def contract(layer):
        channel = await layer.new_channel()
        for _ in range(3):
            waiting = asyncio.ensure_future(layer.receive(channel))
            await asyncio.sleep(0)
            await layer.send(channel, {"type": "kept"})
            waiting.cancel()
            await asyncio.wait((waiting,))
            assert (await layer.receive(channel))["type"] == "kept"

    check(contract)


def test_many_receivers_get_one_message_each():
    async def contract(layer):
        channel = await layer.new_channel()
        waiting = [asyncio.ensure_future(layer.receive(channel)) for _ in range(5)]
        await asyncio.sleep(0)
        for number in range(5):
            await layer.send(channel, {"type": "t", "number": number})
        assert sorted([(await one)["number"] for one in waiting]) == [0, 1, 2, 3, 4]

    check(contract)


def test_a_receiver_whose_message_another_took_gets_the_next():
    async def contract(layer):
        channel = await layer.new_channel()
        first = asyncio.ensure_future(layer.receive(channel))
        await asyncio.sleep(0)
        await layer.send(channel, {"type": "one"})
        # Before the first, which has been woken, can look.
        assert await layer.receive(channel) == {"type": "one"}
        for _ in range(3):
            await asyncio.sleep(0)
        await layer.send(channel, {"type": "two"})
        assert await first == {"type": "two"}

    check(contract)


def test_groups():
    async def contract(layer):
        channels = [await layer.new_channel() for _ in range(3)]
        for channel in channels:
            await layer.group_add("group", channel)
        await layer.group_add("other", channels[0])
        await layer.group_discard("group", channels[1])
        await layer.group_discard("group", "never.added!x".replace("never.added", channels[0].partition("!")[0]))
        await layer.group_send("group", {"type": "t"})
        await layer.group_send("nobody", {"type": "t"})
        for channel in (channels[0], channels[2]):
            assert await layer.receive(channel) == {"type": "t"}
        assert await is_silent(layer, channels[1])

    check(contract)


def test_a_full_channel_does_not_keep_a_group_from_the_others():
    async def contract(layer):
        full, free = await layer.new_channel(), await layer.new_channel()
        for channel in (full, free):
            await layer.group_add("group", channel)
        for _ in range(3):
            await layer.send(full, {"type": "t"})
        await layer.group_send("group", {"type": "u"})
        assert (await layer.receive(free))["type"] == "u"
        assert [(await layer.receive(full))["type"] for _ in range(3)] == ["t"] * 3
        assert await is_silent(layer, full)

    check(contract, capacity=3)


def test_messages_and_memberships_expire(monkeypatch):
    now = 1000.0
    monkeypatch.setattr("bireme.channels.time.time", lambda: now)

    async def contract(layer):
        nonlocal now
        channel = await layer.new_channel()
        await layer.group_add("group", channel)
        await layer.send(channel, {"type": "old"})
        now += 30
        await layer.send(channel, {"type": "young"})
        now += 31
        assert (await layer.receive(channel))["type"] == "young"
        await layer.group_send("group", {"type": "to members"})
        assert (await layer.receive(channel))["type"] == "to members"
        now += 100
        await layer.group_send("group", {"type": "to nobody"})
        assert await is_silent(layer, channel)

    check(contract, expiry=60, group_expiry=100)


def test_flush_forgets_everything():
    async def contract(layer):
        channel = await layer.new_channel()
        await layer.group_add("group", channel)
        await layer.send(channel, {"type": "t"})
        await layer.flush()
        await layer.group_send("group", {"type": "t"})
        assert await is_silent(layer, channel)

    check(contract)
