"""The guard at the door: the checks of one object, before it is stored. Pure; the API server asks."""
