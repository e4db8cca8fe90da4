import json

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse, StreamingHttpResponse
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="for tests", DATA_UPLOAD_MAX_MEMORY_SIZE=None, DEBUG=False
)


def hello(request, name):
    return JsonResponse({"hello": name + request.GET.get("punctuation", "")})


def total(request):
    return JsonResponse({"sum": sum(json.loads(request.body))})


def upload(request):
    count = 0
    while chunk := request.read(50_000):
        count += len(chunk)
    return JsonResponse({"bytes": count})


def stream(request):
    return StreamingHttpResponse(f"line {number}\n" for number in range(50))


def fail(request):
    raise ValueError("raised on purpose")


urlpatterns = [
    path("hello/<name>", hello),
    path("sum", total),
    path("upload", upload),
    path("stream", stream),
    path("raise", fail),
]
asgi = get_asgi_application()
wsgi = get_wsgi_application()
