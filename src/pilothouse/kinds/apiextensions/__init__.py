"""The API of custom resources: their definitions, and the kinds made from them."""
