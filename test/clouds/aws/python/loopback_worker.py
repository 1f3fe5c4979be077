"""A raylet on 127.0.0.1 in place of a worker machine: `python loopback_worker.py GCS_ADDRESS TEMP_DIR`, until it is ended.

`ray start` would listen on the host's other addresses: it takes nodes on the loopback for a mistake.
"""

import os
import signal
import sys

from ray._private.node import Node
from ray._private.parameter import RayParams

gcs_address, temp_dir = sys.argv[1:]
params = RayParams(
    node_ip_address="127.0.0.1",
    gcs_address=gcs_address,
    redis_address=gcs_address,
    temp_dir=temp_dir,
    runtime_env_dir_name=f"runtime_resources-{os.getpid()}",
    min_worker_port=0,
    max_worker_port=0,
    dashboard_port=None,
    dashboard_agent_listen_port=0,
    include_log_monitor=False,
    num_cpus=1,
    num_gpus=1,
    object_store_memory=80_000_000,
)
Node(params, head=False, shutdown_at_exit=False, spawn_reaper=False)
signal.pause()
