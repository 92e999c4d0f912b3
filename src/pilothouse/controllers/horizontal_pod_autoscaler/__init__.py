"""HorizontalPodAutoscalers: as many replicas as the measured load asks for."""
