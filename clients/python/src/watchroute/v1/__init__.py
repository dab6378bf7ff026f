"""The contract, generated from proto/watchroute/v1."""
