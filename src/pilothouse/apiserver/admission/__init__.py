"""What is written is changed and checked here, after authorisation and before the kind's own rules."""
