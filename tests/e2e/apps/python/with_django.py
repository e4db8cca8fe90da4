"""A Django site in one module; `asgi` and `wsgi` are its two interfaces."""

import json as jsons

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, HttpResponseRedirect, JsonResponse, StreamingHttpResponse
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="for tests alone", MIDDLEWARE=[], DEBUG=False
)
django.setup()


def hello(request):
    return HttpResponse("hello", content_type="text/plain")


def json(request):
    return JsonResponse({"got": jsons.loads(request.body)} if request.method == "POST" else {"ok": True})


def item(request, id):
    return JsonResponse({"id": id, "query": request.GET.dict()})


def echo(request):
    body = request.read()
    if request.META.get("wsgi.url_scheme"):
        return StreamingHttpResponse(iter([body]), content_type="application/octet-stream")
    return HttpResponse(body, content_type="application/octet-stream")


def redirect(request):
    return HttpResponseRedirect("/json")


def boom(request):
    raise RuntimeError("the application broke on purpose")


urlpatterns = [
    path("", hello),
    path("json", json),
    path("items/<str:id>", item),
    path("echo", echo),
    path("redirect", redirect),
    path("boom", boom),
]

asgi = get_asgi_application()
wsgi = get_wsgi_application()
