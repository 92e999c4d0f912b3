"""CEL rules of custom resources (`x-kubernetes-validations`): compiled with their definition, run at every write."""
