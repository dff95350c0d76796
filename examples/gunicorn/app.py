import os


def app(environ, start_response):
    """Answers with its worker's number, as slowly as the client sends the body."""
    environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % os.getpid()]
