"""What a cloud's load balancer cannot tell apart, told apart at Serve's own proxy.

An ALB compares header values without regard to case. A token, or a role in the version header, that is right but for its
case has passed it, and is refused here. Serve calls `middlewares` when its proxy starts
(RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH).
"""

import os
from hmac import compare_digest

from starlette.middleware import Middleware

ROLES = (b"primary", b"canary")


def middlewares():
    with open(os.environ["RAYSHIFT_QUERY_TOKEN_PATH"], "rb") as file:
        token = file.read().strip()
    return [Middleware(Gate, bearer=b"Bearer " + token)]


class Gate:
    def __init__(self, app, bearer):
        self.app = app
        self.bearer = bearer

    async def __call__(self, scope, receive, send):
        problem = self.problem(scope["headers"]) if scope["type"] == "http" else None
        if problem is None:
            await self.app(scope, receive, send)
            return
        status, text = problem
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(text))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": text})

    def problem(self, headers):
        for name, value in headers:
            if name == b"authorization" and differs_in_case(value, self.bearer):
                return 401, b"The token is not that of this service.\n"
            if name == b"x-anyscale-version" and any(differs_in_case(value, role) for role in ROLES):
                return 400, b"X-ANYSCALE-VERSION is case sensitive: primary or canary.\n"
        return None


def differs_in_case(given, expected):
    return compare_digest(given.lower(), expected.lower()) and not compare_digest(given, expected)
