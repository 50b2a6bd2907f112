"""A Ray cluster of two nodes on this machine, which loses one at the first line that it is given.

Tells its address, and that for clients from outside.
"""

import os
import socket
import time

# Else the process that is forked for a client dies now and then.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

from ray.cluster_utils import Cluster

ALIVE = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 4,
}

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
head = {"num_cpus": 1, "include_dashboard": False, "ray_client_server_port": port, "_system_config": ALIVE}
cluster = Cluster(initialize_head=True, head_node_args=head)
try:
    node = cluster.add_node(num_cpus=1)
    for _ in range(600):  # the door for clients opens a while after the cluster is there
        with socket.socket() as visitor:
            if visitor.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    print(cluster.address, f"ray://127.0.0.1:{port}", sep="\n", flush=True)
    input()
    cluster.remove_node(node, allow_graceful=False)
    print("gone", flush=True)
    input()
finally:
    cluster.shutdown()
