"""ClusterRoles that gather the rules of others: so that people see what they give."""
