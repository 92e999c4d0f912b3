"""The cluster's certificate authority published to every namespace."""
