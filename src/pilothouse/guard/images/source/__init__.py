"""Where images come from: a registry, an OCI layout, a docker archive, a folder of blobs. No source is trusted."""
