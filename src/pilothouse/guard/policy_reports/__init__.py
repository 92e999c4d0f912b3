"""Results of other tools that lie in the cluster as PolicyReport objects, as findings; and findings as such objects.

Source: the Kubernetes Policy working group's `wgpolicyk8s.io/v1alpha2` (PolicyReport, ClusterPolicyReport) and its
successor `openreports.io/v1alpha1` (Report, ClusterReport), whose results have the same fields.
"""
