"""Protobuf request bodies, as kubectl and everything built on client-go send them. Decoding only: replies are JSON."""
