"""Small applications that the tests run on a real Ray."""

import asyncio
import os

from ray import serve
from starlette.responses import StreamingResponse

SMALL = {"num_cpus": 0.1}


@serve.deployment(num_replicas=3, ray_actor_options=SMALL)
class Model:
    def reconfigure(self, config):
        self.config = config

    async def __call__(self, request):
        return "model"


@serve.deployment(
    autoscaling_config={"min_replicas": 1, "initial_replicas": 4, "max_replicas": 6},
    ray_actor_options=SMALL,
)
class Scaling:
    async def __call__(self, request):
        return "scaling"


@serve.deployment(num_replicas=2, ray_actor_options=SMALL)
class Front:
    def __init__(self, model):
        self.model = model

    async def __call__(self, request):
        return "front"


@serve.deployment(num_replicas=2, ray_actor_options=SMALL)
class Fragile:
    """Starts only as long as there is no file at MARKER."""

    def __init__(self):
        if os.path.exists(os.environ["MARKER"]):
            raise RuntimeError("no weights at s3://models/fragile")

    async def __call__(self, request):
        return "fragile"


@serve.deployment(num_replicas=2, ray_actor_options=SMALL)
class Slow:
    """Streams a line a second, for as many seconds as it is asked to."""

    async def __call__(self, request):
        return StreamingResponse(self.lines(int(request.query_params["seconds"])))

    async def lines(self, seconds):
        for second in range(seconds):
            yield f"{second}\n"
            await asyncio.sleep(1)


@serve.deployment(ray_actor_options=SMALL)
class Headers:
    """The names of the headers that a replica sees."""

    async def __call__(self, request):
        return sorted(request.headers.keys())


@serve.deployment(num_replicas=2, ray_actor_options={"num_cpus": 5})
class Greedy:
    async def __call__(self, request):
        return "greedy"


model = Model.bind()
scaling = Scaling.bind()
both = Front.bind(Model.bind())
fragile = Fragile.bind()
slow = Slow.bind()
headers = Headers.bind()
greedy = Greedy.bind()
