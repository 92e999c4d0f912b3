"""Image scanning while the cluster runs: nodes tell what is in their images, the guard what that means for pods."""
