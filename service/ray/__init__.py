"""What stands between Ray Serve and the application."""
