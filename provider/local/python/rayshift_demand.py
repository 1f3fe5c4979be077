"""Tells whether a node that Ray's autoscaler asks for is really missing.

A replica that fails to start is replaced at once, before Ray has seen that its resources are free again. For that moment
its successor waits, and the autoscaler takes it for demand of one node more, which a surge would have to pay for.
"""

import json
import math
import time
import urllib.request

from ray._private.authentication.http_token_authentication import get_auth_headers_if_auth_enabled
from ray._raylet import GcsClient
from ray.autoscaler.v2.sdk import get_cluster_resource_state

REST_SECONDS = 5
POLL_SECONDS = 0.25
# Ray looks at its nodes' queues once a second, and a process that fails takes seconds to end on a busy host.
LASTING_SECONDS = 8


class NotMissing(Exception):
    """Nothing waits for the node any more."""


class Demand:
    """What Serve runs on a cluster, and what waits for resources there."""

    def __init__(self, dashboard_url, gcs_address):
        self._dashboard_url = dashboard_url
        self._gcs_address = gcs_address
        self._gcs = None

    def confirm(self, nodes, resources):
        """Returns at once when the replicas that Serve wants need this many nodes of these resources.

        More than that may be right as well, for actors that replicas start: then more has to wait for resources than
        replicas that have no node yet, and to do so for some seconds. Raises NotMissing when it does not.
        """
        if nodes <= nodes_for(wanted_replicas(self._deployments()), resources):
            return
        end = time.monotonic() + LASTING_SECONDS
        while time.monotonic() < end:
            time.sleep(POLL_SECONDS)
            if self._waiting(resources) <= homeless_replicas(self._deployments()):
                raise NotMissing(f"{nodes} nodes would be more than what runs and waits needs")

    def _deployments(self):
        """What Serve says of each deployment; nothing when it does not answer."""
        request = urllib.request.Request(
            f"{self._dashboard_url}/api/serve/applications/", headers=get_auth_headers_if_auth_enabled({})
        )
        # Without the proxies of the environment: it is this host.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=REST_SECONDS) as answer:
                applications = json.load(answer)["applications"].values()
        except OSError as error:
            print(f"Serve does not say how many replicas it wants: {error}", flush=True)
            return []
        return [each for application in applications for each in application["deployments"].values()]

    def _waiting(self, resources):
        """How many actors and placement groups wait that could use such a node."""
        if self._gcs is None:
            self._gcs = GcsClient(address=self._gcs_address)
        state = get_cluster_resource_state(self._gcs)
        single = sum(each.count for each in state.pending_resource_requests if fits(each.request, resources))
        gangs = 0
        for gang in state.pending_gang_resource_requests:
            bundles = [*gang.requests, *(each for selector in gang.bundle_selectors for each in selector.resource_requests)]
            gangs += any(fits(bundle, resources) for bundle in bundles)
        return single + gangs


def wanted_replicas(deployments):
    """(count, resources of one) of each deployment."""
    return [(each["target_num_replicas"], replica_resources(each["deployment_config"])) for each in deployments]


def homeless_replicas(deployments):
    """Replicas that wait for a node, or for a process on it."""
    return sum(not replica.get("node_id") for each in deployments for replica in each["replicas"])


def fits(request, resources):
    return share_of(dict(request.resources_bundle), resources) <= 1


def nodes_for(replicas, resources):
    """The fewest nodes of these resources that all replicas fit on; those that fit on no such node do not count."""
    shares = [(count, share_of(needed, resources)) for count, needed in replicas]
    return math.ceil(round(sum(count * share for count, share in shares if share != math.inf), 6))


def replica_resources(config):
    """What one replica takes, by Serve's rules: one CPU where nothing is said; a placement group holds its actor too."""
    bundles = config.get("placement_group_bundles")
    if bundles:
        names = {name for bundle in bundles for name in bundle}
        return {name: sum(bundle.get(name, 0) for bundle in bundles) for name in names}
    options = config.get("ray_actor_options") or {}
    cpus = options.get("num_cpus")
    named = {"CPU": 1 if cpus is None else cpus, "GPU": options.get("num_gpus") or 0}
    return {**named, **(options.get("resources") or {})}


def share_of(needed, resources):
    """The part of a node that is needed; infinite where the node has none of it."""
    shares = [amount / resources[name] if resources.get(name) else math.inf for name, amount in needed.items() if amount]
    return max(shares, default=0)
