"""Images at the door: what a namespace lets in, decided while a pod is admitted."""
