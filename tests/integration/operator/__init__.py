"""The operator as a real process, under its own rights, against a real API server with its controllers."""
