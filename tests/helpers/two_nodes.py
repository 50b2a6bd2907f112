"""A Ray cluster of two nodes on this machine: tells its address, and loses a node at the first line."""

from ray.cluster_utils import Cluster

ALIVE = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 4,
}

cluster = Cluster(
    initialize_head=True,
    head_node_args={"num_cpus": 1, "include_dashboard": False, "_system_config": ALIVE},
)
try:
    node = cluster.add_node(num_cpus=1)
    print(cluster.address, flush=True)
    input()
    cluster.remove_node(node, allow_graceful=False)
    print("gone", flush=True)
    input()
finally:
    cluster.shutdown()
