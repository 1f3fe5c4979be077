"""A service that names its version.

From the service's env_vars: VERSION; FAIL, a message to fail to start with; DELAY, seconds that a start takes; BREAK, a
file whose presence makes replicas unhealthy.

A request takes the `seconds` of its query; at /stream they pass in lines, two a second, each with the version.
"""

import asyncio
import os
import time

from ray import serve
from starlette.requests import Request
from starlette.responses import StreamingResponse

LINES_A_SECOND = 2


@serve.deployment(
    ray_actor_options={"num_cpus": 0, "num_gpus": 1},
    health_check_period_s=1,
    health_check_timeout_s=5,
)
class Versions:
    def __init__(self):
        if os.environ.get("FAIL"):
            raise RuntimeError(os.environ["FAIL"])
        time.sleep(float(os.environ.get("DELAY", 0)))

    def check_health(self):
        if os.path.exists(os.environ.get("BREAK", "/nowhere")):
            raise RuntimeError("told to be unhealthy")

    async def __call__(self, request: Request) -> dict | StreamingResponse:
        seconds = float(request.query_params.get("seconds", 0))
        if request.url.path == "/stream":
            return StreamingResponse(lines(seconds), media_type="text/plain")
        await asyncio.sleep(seconds)
        return {"version": os.environ["VERSION"]}


async def lines(seconds: float):
    for number in range(round(seconds * LINES_A_SECOND)):
        yield f"{number} {os.environ['VERSION']}\n"
        await asyncio.sleep(1 / LINES_A_SECOND)


app = Versions.bind()
