"""Server-side apply: who owns which field, merging what is applied, and refusing to take what others own.

Source: the Kubernetes documentation of server-side apply, KEP-555 and `sigs.k8s.io/structured-merge-diff`.

A set of fields is kept as it is stored in `managedFields[].fieldsV1`: nested dicts whose keys are `f:NAME` for a
field, `k:{...}` for an entry of a list by its keys, `v:...` for an entry of a set; `.` marks that the node itself
belongs to the set, and so does a node without children.
"""
