"""Attributes that are no application, or only nearly one."""

import functools

import raw_asgi
import raw_wsgi

number = 5


def application_typo(environ, start_response):
    return raw_wsgi.app(environ, start_response)


def no_arguments():
    return 5


def any_arguments(*args):
    return raw_wsgi.app(*args)


class NotAnInstance:
    async def __call__(self, scope, receive, send):
        await raw_asgi.app(scope, receive, send)


def create():
    return NotAnInstance()


def create_badly():
    raise RuntimeError("no database")


partial_asgi = functools.partial(raw_asgi.app)
partial_wsgi = functools.partial(lambda extra, environ, start_response: raw_wsgi.app(environ, start_response), 1)


async def startup_fails(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


async def startup_hangs(scope, receive, send):
    import asyncio

    await receive()
    await asyncio.Event().wait()
