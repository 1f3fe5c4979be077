"""The worker nodes of a local cluster: Ray's autoscaler asks for them, each is a raylet process on this host.

What runs is read from /proc and never only remembered, so a monitor process that was restarted knows the workers that
its predecessor started, and a worker that was killed is seen as gone and replaced.
"""

import json
import os
import signal
import threading
import time
import uuid

from ray._private import ray_constants
from ray._private.node import Node
from ray._private.parameter import RayParams
from ray._raylet import RAY_NODE_GROUP_KEY
from ray.autoscaler._private.fake_multi_node.node_provider import FakeMultiNodeProvider
from ray.autoscaler.tags import (
    NODE_KIND_HEAD,
    NODE_KIND_WORKER,
    STATUS_UP_TO_DATE,
    TAG_RAY_LAUNCH_REQUEST,
    TAG_RAY_NODE_KIND,
    TAG_RAY_NODE_NAME,
    TAG_RAY_NODE_STATUS,
    TAG_RAY_USER_NODE_TYPE,
)
from rayshift_demand import Demand

LOOPBACK = "127.0.0.1"
TERMINATE_SECONDS = 10
LAUNCH_REQUEST = "RAYSHIFT_LAUNCH_REQUEST"


class LocalNodeProvider(FakeMultiNodeProvider):
    """Starts and ends worker raylets below one temporary directory (`provider.temp_dir`)."""

    def __init__(self, provider_config, cluster_name):
        super().__init__(provider_config, cluster_name)
        self._temp_dir = provider_config["temp_dir"]
        self._min_nodes = provider_config["min_nodes"]
        self._demand = Demand(provider_config["dashboard_url"], provider_config["gcs_address"])
        # Ray launches from several threads. One at a time is counted, so that none misses what another is starting.
        self._counting = threading.Lock()
        # Workers whose start has been settled and whose raylet need not run yet: node id -> tags.
        self._starting = {}
        # Nodes that this process started: their raylets are its children and have to be reaped.
        self._started = []
        # What the last look at /proc found: node id -> tags. Ray asks for the nodes first and for each one's tags then.
        self._known = {}

    # The node ids of the superclass count from 1 and would repeat after a restart of the monitor.
    def _next_hex_node_id(self):
        return (uuid.uuid4().hex + uuid.uuid4().hex)[:56]

    def non_terminated_nodes(self, tag_filters):
        with self.lock:
            self._started = [node for node in self._started if node.remaining_processes_alive()]
            head = node_tags(self._head_node_id, self.provider_config["head_node_type"], head=True)
            self._known = {self._head_node_id: head, **self._present()}
            return [
                node_id
                for node_id, tags in self._known.items()
                if all(tags.get(key) == value for key, value in tag_filters.items())
            ]

    def is_running(self, node_id):
        return node_id in self._known

    def is_terminated(self, node_id):
        return node_id not in self._known

    def node_tags(self, node_id):
        return self._known.get(node_id, {})

    def create_node_with_resources_and_labels(self, node_config, tags, count, resources, labels):
        node_type = tags[TAG_RAY_USER_NODE_TYPE]
        with self._counting:
            nodes = count + sum(each[TAG_RAY_USER_NODE_TYPE] == node_type for each in self._present().values())
            # The nodes that a group always has need no demand.
            if nodes > self._min_nodes.get(node_type, 0):
                self._demand.confirm(nodes, resources)
            node_ids = [self._next_hex_node_id() for _ in range(count)]
            request = tags.get(TAG_RAY_LAUNCH_REQUEST, "")
            with self.lock:
                self._starting.update({node_id: node_tags(node_id, node_type, request) for node_id in node_ids})
        try:
            for node_id in node_ids:
                # The autoscaler may have thought better of it meanwhile.
                if node_id in self._starting:
                    self._start(node_id, node_type, request, dict(resources), labels)
        except BaseException:
            # The autoscaler takes a failed batch as not started at all and asks for all of it again.
            self.terminate_nodes(node_ids)
            raise

    def terminate_node(self, node_id):
        self.terminate_nodes([node_id])

    def terminate_nodes(self, node_ids):
        with self.lock:
            for node_id in node_ids:
                self._starting.pop(node_id, None)
        end_processes([pid for pid, tags in self._workers().items() if tags[TAG_RAY_NODE_NAME] in node_ids])

    def _workers(self):
        return worker_raylets(self._temp_dir, self._head_node_id)

    def _present(self):
        """The workers that run or are about to: node id -> tags."""
        with self.lock:
            return {**self._starting, **{tags[TAG_RAY_NODE_NAME]: tags for tags in self._workers().values()}}

    def _start(self, node_id, node_type, request, resources, labels):
        labels = {**labels, RAY_NODE_GROUP_KEY: node_type}
        params = RayParams(
            node_ip_address=LOOPBACK,
            gcs_address=self._gcs_address,
            redis_address=self._gcs_address,
            temp_dir=self._temp_dir,
            # The agent of each node ends what it finds in this folder, so nodes of one host must not share it.
            runtime_env_dir_name=f"runtime_resources-{node_id[:8]}",
            min_worker_port=0,
            max_worker_port=0,
            dashboard_port=None,
            dashboard_agent_listen_port=0,
            include_log_monitor=False,
            num_cpus=resources.pop("CPU", 0),
            num_gpus=resources.pop("GPU", 0),
            object_store_memory=resources.pop("object_store_memory", None),
            resources=resources,
            labels=labels,
            env_vars={
                "RAY_OVERRIDE_NODE_ID_FOR_TESTING": node_id,
                "RAY_CLOUD_INSTANCE_ID": node_id,
                "RAY_NODE_TYPE_NAME": node_type,
                LAUNCH_REQUEST: request,
                ray_constants.RESOURCES_ENVIRONMENT_VARIABLE: json.dumps(resources),
                ray_constants.LABELS_ENVIRONMENT_VARIABLE: json.dumps(labels),
            },
        )
        node = Node(params, head=False, shutdown_at_exit=False, spawn_reaper=False)
        with self.lock:
            self._started.append(node)
            self._starting.pop(node_id, None)


def worker_raylets(temp_dir, head_node_id):
    """The running worker raylets of the cluster with this temporary directory: pid -> tags."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or read_list(f"/proc/{entry}/comm") != ["raylet\n"] or is_gone(entry):
            continue
        if f"--temp_dir={temp_dir}" not in read_list(f"/proc/{entry}/cmdline"):
            continue
        environment = dict(item.split("=", 1) for item in read_list(f"/proc/{entry}/environ") if "=" in item)
        node_id = environment.get("RAY_CLOUD_INSTANCE_ID", "")
        if node_id not in ("", head_node_id):
            found[int(entry)] = node_tags(
                node_id, environment.get("RAY_NODE_TYPE_NAME", ""), environment.get(LAUNCH_REQUEST, "")
            )
    return found


def node_tags(node_id, node_type, request="", head=False):
    return {
        TAG_RAY_NODE_KIND: NODE_KIND_HEAD if head else NODE_KIND_WORKER,
        TAG_RAY_USER_NODE_TYPE: node_type,
        TAG_RAY_NODE_NAME: node_id,
        TAG_RAY_NODE_STATUS: STATUS_UP_TO_DATE,
        TAG_RAY_LAUNCH_REQUEST: request,
    }


def end_processes(pids, graceful=True):
    """Ends raylets: asked first, so that each ends its own workers; those of a killed one notice it by themselves."""
    for pid in pids:
        send(pid, signal.SIGTERM if graceful else signal.SIGKILL)
    deadline = time.monotonic() + TERMINATE_SECONDS
    while any(not is_gone(pid) for pid in pids):
        if time.monotonic() > deadline:
            for pid in pids:
                send(pid, signal.SIGKILL)
            return
        time.sleep(0.05)


def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def read_list(path):
    """A NUL-separated list of /proc; empty when the process has ended meanwhile."""
    try:
        with open(path, "rb") as file:
            return [item.decode(errors="replace") for item in file.read().split(b"\0") if item]
    except OSError:
        return []


def is_gone(pid):
    """Whether the process has ended; one that only waits to be reaped has."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except OSError:
        return True
