"""The same decisions as `filters.py` and `scores.py`, over arrays of nodes: for clusters of many nodes.

What a pod's shape (`Template`) makes of each node is kept, and only nodes that changed since are looked at again; what
depends on other pods (`Company`) is counted per node and kept in step as pods come and go. `decide.py` chooses this way
from `LEAST_NODES` on; below, plain Python is as quick, and NumPy is never imported. A property test holds both equal.
"""

LEAST_NODES = 64
