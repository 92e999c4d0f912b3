"""What other scanners say, as our own results: read from their JSON, or asked for where they are installed."""
