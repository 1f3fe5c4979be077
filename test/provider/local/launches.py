"""Two launches of Ray's autoscaler at one time: `python launches.py FOLDER WANTED`, with rayshift's modules on PYTHONPATH.

The first asks for two nodes and has started one of them when the second asks for one more. Prints what came of the
second, and how many nodes run in the end. Fakes: Serve, which says that it wants WANTED replicas, the queues of Ray,
in which nothing waits, and the nodes, which are shells by the name of raylet. It does not prove that Ray asks like this.
"""

import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import rayshift_nodes
from ray.autoscaler.tags import TAG_RAY_USER_NODE_TYPE
from rayshift_demand import NotMissing

SECONDS = 20
folder, wanted = sys.argv[1], int(sys.argv[2])
first_runs, may_go_on = threading.Event(), threading.Event()


class FakeServe(BaseHTTPRequestHandler):
    def do_GET(self):
        deployment = {"target_num_replicas": wanted, "deployment_config": {}, "replicas": []}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"applications": {"app": {"deployments": {"D": deployment}}}}).encode())

    def log_message(self, *_):
        pass


class FakeNode:
    started = []

    def __init__(self, params, **_):
        self.raylet = subprocess.Popen(
            [f"{folder}/raylet", "-c", "read", "raylet", f"--temp_dir={folder}"],
            env={**os.environ, **params.env_vars},
            stdin=subprocess.PIPE,
        )
        FakeNode.started.append(self)
        # The kernel names a process a moment after it runs.
        while self.raylet.pid not in rayshift_nodes.worker_raylets(folder, "head"):
            time.sleep(0.01)
        first_runs.set()
        assert may_go_on.wait(SECONDS)

    def remaining_processes_alive(self):
        return self.raylet.poll() is None


os.symlink("/bin/bash", f"{folder}/raylet")
serve = ThreadingHTTPServer(("127.0.0.1", 0), FakeServe)
threading.Thread(target=serve.serve_forever, daemon=True).start()
rayshift_nodes.Node = FakeNode
nodes = rayshift_nodes.LocalNodeProvider(
    {
        "temp_dir": folder,
        "min_nodes": {"gpu": 0},
        "dashboard_url": f"http://127.0.0.1:{serve.server_port}",
        "gcs_address": "127.0.0.1:1",
        "head_node_id": "head",
        "head_node_type": "head",
    },
    "cluster",
)
nodes._demand._waiting = lambda resources: 0


def launch(count):
    nodes.create_node_with_resources_and_labels({}, {TAG_RAY_USER_NODE_TYPE: "gpu"}, count, {"CPU": 1}, {})


def second_launch():
    try:
        launch(1)
        results.append("started")
    except NotMissing as error:
        results.append(str(error))


results = []
first = threading.Thread(target=launch, args=[2])
try:
    first.start()
    assert first_runs.wait(SECONDS)
    known = len(nodes.non_terminated_nodes({TAG_RAY_USER_NODE_TYPE: "gpu"}))
    second = threading.Thread(target=second_launch)
    second.start()
    second.join(5 if wanted < 3 else 0.5)
    may_go_on.set()
    first.join()
    second.join()
    running = len(rayshift_nodes.worker_raylets(folder, "head"))
    print(json.dumps({"known": known, "second": results[0], "running": running}))
finally:
    may_go_on.set()
    for node in FakeNode.started:
        node.raylet.kill()
        node.raylet.wait()
