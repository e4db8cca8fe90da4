"""The sockets' contract in Django Channels."""

import django
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.http import HttpResponse
from django.urls import path, re_path

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, INSTALLED_APPS=["channels"], SECRET_KEY="for tests")
django.setup()

from django.core.asgi import get_asgi_application  # noqa: E402  Django must be set up first.

urlpatterns = [path("", lambda request: HttpResponse("ok"))]


class Echo(AsyncWebsocketConsumer):
    async def connect(self):
        if self.scope["path"] == "/refused":
            await self.close()
            return
        await self.accept("chat" if "chat" in self.scope["subprotocols"] else None, headers=[(b"x-app", b"channels")])

    async def receive(self, text_data=None, bytes_data=None):
        if text_data == "close":
            await self.close(4001, "as you wish")
        else:
            await self.send(text_data, bytes_data)

    async def disconnect(self, code):
        print("left", code, flush=True)


app = ProtocolTypeRouter({"http": get_asgi_application(), "websocket": URLRouter([re_path(r"", Echo.as_asgi())])})
