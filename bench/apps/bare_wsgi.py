HEADERS = [("content-type", "text/plain"), ("content-length", "13")]


def app(environ, start_response):
    start_response("200 OK", HEADERS)
    return [b"Hello, world!"]
