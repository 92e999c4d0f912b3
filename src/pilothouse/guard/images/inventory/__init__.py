"""From bytes to packages, without running or unpacking anything."""
