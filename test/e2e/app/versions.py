"""A service that names its version. VERSION and FAIL come from the service's env_vars."""

import asyncio
import os

from ray import serve
from starlette.requests import Request


@serve.deployment(ray_actor_options={"num_cpus": 0, "num_gpus": 1})
class Versions:
    def __init__(self):
        if os.environ.get("FAIL"):
            raise RuntimeError(os.environ["FAIL"])

    async def __call__(self, request: Request) -> dict:
        await asyncio.sleep(float(request.query_params.get("seconds", 0)))
        return {"version": os.environ["VERSION"]}


app = Versions.bind()
