"""One machine: the service in the foreground, which leaves nothing behind."""
