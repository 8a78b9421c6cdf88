"""Second implementations, shipped: each passes the same contract test as the real thing."""
