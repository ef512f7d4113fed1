"""What can be seen of a service: metrics, traces, the request log."""
