"""Starts the head of a local cluster and stays as its parent: `python rayshift_head.py CONFIG.json`.

The head is one thing: when its GCS, raylet or dashboard ends, all of it ends and its workers with it. Ray's autoscaler
(the monitor) holds nothing that its successor could not read back, so that one is started again.

The config: {gcs_port, dashboard_port, agent_http_port, agent_grpc_port, metrics_port, cpus, gpus, resources,
object_store_bytes, temp_dir, autoscaling_config, node_id, node_type}.
"""

import json
import signal
import sys
import threading
import time

from ray._private import ray_constants
from ray._private.node import Node
from ray._private.parameter import RayParams
from rayshift_nodes import LOOPBACK, end_processes, worker_raylets

POLL_SECONDS = 0.5
MONITOR_PAUSE_SECONDS = 2
ESSENTIAL = (
    ray_constants.PROCESS_TYPE_GCS_SERVER,
    ray_constants.PROCESS_TYPE_RAYLET,
    ray_constants.PROCESS_TYPE_DASHBOARD,
)


def start(config):
    # Unlike `ray start`: no Ray client server and no log monitor (a process each that Serve has no use for), and with
    # spawn_reaper the kernel ends the head's processes when this one is killed.
    params = RayParams(
        node_ip_address=LOOPBACK,
        node_name=LOOPBACK,
        gcs_server_port=config["gcs_port"],
        include_dashboard=True,
        dashboard_host=LOOPBACK,
        dashboard_port=config["dashboard_port"],
        dashboard_agent_listen_port=config["agent_http_port"],
        metrics_agent_port=config["agent_grpc_port"],
        metrics_export_port=config["metrics_port"],
        min_worker_port=0,
        max_worker_port=0,
        include_log_monitor=False,
        num_cpus=config["cpus"],
        num_gpus=config["gpus"],
        resources=config["resources"],
        object_store_memory=config["object_store_bytes"],
        temp_dir=config["temp_dir"],
        autoscaling_config=config["autoscaling_config"],
        # Of the raylet alone. An autoscaler that is started again finds the head by its type; one that inherited the type
        # would give it to its workers.
        env_vars={
            "RAY_OVERRIDE_NODE_ID_FOR_TESTING": config["node_id"],
            "RAY_NODE_TYPE_NAME": config["node_type"],
        },
    )
    return Node(params, head=True, shutdown_at_exit=False, spawn_reaper=True)


def watch(node, stopped):
    """Returns when the head has to end: why, or None when it was asked to."""
    monitor_due = None
    while not stopped.wait(POLL_SECONDS):
        dead = dict(node.dead_processes())
        for process_type in ESSENTIAL:
            if process_type in dead:
                return f"{process_type} ended with code {dead[process_type].returncode}"
        if ray_constants.PROCESS_TYPE_MONITOR not in dead:
            continue
        if monitor_due is None:
            print(f"the autoscaler ended with code {dead[ray_constants.PROCESS_TYPE_MONITOR].returncode}", flush=True)
            monitor_due = time.monotonic() + MONITOR_PAUSE_SECONDS
        elif time.monotonic() >= monitor_due:
            monitor_due = None
            del node.all_processes[ray_constants.PROCESS_TYPE_MONITOR]
            node.start_monitor()
            print("the autoscaler was started again", flush=True)
    return None


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        config = json.load(file)
    stopped = threading.Event()
    node = start(config)
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    reason = watch(node, stopped)
    # The autoscaler first: it would replace the workers.
    if ray_constants.PROCESS_TYPE_MONITOR in node.all_processes:
        node.kill_monitor(check_alive=False)
    # Without the rest of the head nothing can end in order any more.
    graceful = reason is None
    end_processes(list(worker_raylets(config["temp_dir"], config["node_id"])), graceful)
    node.kill_all_processes(check_alive=False, allow_graceful=graceful)
    if reason is not None:
        sys.exit(f"the head ends: {reason}")


if __name__ == "__main__":
    main()
