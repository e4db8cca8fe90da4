"""Channels' consumers over Bireme's channel layer; see tests/e2e/test_adapters.py."""

import contextlib
import os

import django
from channels.exceptions import ChannelFull
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.layers import get_channel_layer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.http import HttpResponse
from django.urls import path, re_path

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["channels"],
    SECRET_KEY="for tests",
    CHANNEL_LAYERS={"default": {"BACKEND": "bireme.channels.ChannelLayer", "CONFIG": {"capacity": 1000}}},
)
django.setup()

from asgiref.sync import async_to_sync  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402  Django must be set up first.


def shout(request):
    """A synchronous view, on a thread."""
    async_to_sync(get_channel_layer().group_send)("room", {"type": "said", "text": "from a view"})
    return HttpResponse(str(os.getpid()))


urlpatterns = [path("", shout)]


class Room(AsyncJsonWebsocketConsumer):
    groups = ["room"]

    async def connect(self):
        await self.accept()
        await self.send_json({"pid": os.getpid(), "channel": self.channel_name})

    async def receive_json(self, content):
        layer = self.channel_layer
        match content["do"]:
            case "say":
                await layer.group_send("room", {"type": "said", "text": content["text"], "bytes": b"\xff"})
            case "tell":
                await layer.send(content["channel"], {"type": "said", "text": content["text"]})
            case "flood":
                message = {"type": "ignored", "text": "x" * 500_000}
                # The loop has no turn meanwhile, in which anything could leave.
                with contextlib.suppress(ChannelFull):
                    for _ in range(100):
                        await layer.send(content["channel"], message)
                    raise AssertionError("50 MB were taken")
                await layer.group_send("room", message)
                await self.send_json({"flooded": True})
            case "leave":
                await layer.group_discard("room", self.channel_name)
                await self.send_json({"left": True})
            case "queue":
                await layer.send("jobs", {"type": "job", "number": content["number"]})
            case "take":
                message = await layer.receive("jobs")
                await self.send_json({"job": message["number"]})

    async def ignored(self, event):
        pass

    async def said(self, event):
        await self.send_json({"said": event["text"], "bytes": len(event.get("bytes", b""))})


app = ProtocolTypeRouter({"http": get_asgi_application(), "websocket": URLRouter([re_path(r"", Room.as_asgi())])})
