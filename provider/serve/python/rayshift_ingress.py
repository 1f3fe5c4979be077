"""Checks requests in Serve's own HTTP proxy, for load balancers that cannot do it well.

Ray asks for the middlewares when a proxy starts: `RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=rayshift_ingress.middlewares`.

`RAYSHIFT_QUERY_TOKENS` is the path of a file with a token a line; any of them opens. It is read anew when it changes, so
a token is replaced by giving both for a while. Health checks need none. Serve's gRPC proxy has no such place.

`RAYSHIFT_EXACT_ROLES=1` is for a load balancer that compares without regard to case: it has sent `Canary` to the canary.
"""

import hashlib
import hmac
import os

from starlette.middleware import Middleware

HEALTH = "/-/healthz"
REFUSAL = b"This service asks for its token: send the header Authorization: Bearer <token>.\n"
POLICY_VIOLATION = 1008
ROLES = (b"primary", b"canary")
WRONG_CASE = b"X-ANYSCALE-VERSION is case sensitive: primary or canary.\n"


def middlewares():
    found = []
    if "RAYSHIFT_QUERY_TOKENS" in os.environ:
        found.append(Middleware(QueryToken, tokens=Tokens(os.environ["RAYSHIFT_QUERY_TOKENS"])))
    if os.environ.get("RAYSHIFT_EXACT_ROLES") == "1":
        found.append(Middleware(ExactRoles))
    return found


class Tokens:
    """The tokens of a file."""

    def __init__(self, path):
        self._path = path
        self._seen = None
        self._digests = []
        self._read()

    def accept(self, token):
        try:
            self._read()
        except OSError:
            # A file that is being replaced: what it held stays good.
            pass
        given = digest(token)
        # Each is compared, and whole: the time tells nothing about any.
        return any([hmac.compare_digest(given, known) for known in self._digests])

    def _read(self):
        status = os.stat(self._path)
        seen = (status.st_mtime_ns, status.st_size, status.st_ino)
        if seen == self._seen:
            return
        with open(self._path, "rb") as file:
            self._digests = [digest(line.strip()) for line in file if line.strip()]
        self._seen = seen


class QueryToken:
    """Refuses requests without a token, and takes the token off the others before a replica sees it."""

    def __init__(self, app, tokens):
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope, receive, send):
        if scope["type"] not in ("http", "websocket") or scope["path"] == HEALTH:
            return await self._app(scope, receive, send)
        if not self._tokens.accept(bearer(scope["headers"])):
            return await refuse(scope["type"], send, 401, REFUSAL, [(b"www-authenticate", b"Bearer")])
        headers = [(name, value) for name, value in scope["headers"] if name != b"authorization"]
        await self._app({**scope, "headers": headers}, receive, send)


class ExactRoles:
    """Refuses a version header that is a role's name but for its case."""

    def __init__(self, app):
        self._app = app

    async def __call__(self, scope, receive, send):
        values = [value for name, value in scope.get("headers", []) if name == b"x-anyscale-version"]
        if any(value not in ROLES and value.lower() in ROLES for value in values):
            return await refuse(scope["type"], send, 400, WRONG_CASE)
        await self._app(scope, receive, send)


def bearer(headers):
    """The token of a request with one Authorization header, else nothing."""
    values = [value for name, value in headers if name == b"authorization"]
    scheme, _, token = values[0].partition(b" ") if len(values) == 1 else (b"", b"", b"")
    return token.strip() if scheme.lower() == b"bearer" else b""


async def refuse(kind, send, status, text, headers=()):
    if kind == "websocket":
        return await send({"type": "websocket.close", "code": POLICY_VIOLATION})
    headers = [(b"content-type", b"text/plain"), *headers]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})


def digest(token):
    return hashlib.sha256(token).digest()
