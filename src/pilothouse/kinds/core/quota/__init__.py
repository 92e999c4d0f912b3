"""What objects use of a ResourceQuota, and which quotas they count for. Pure: admission and the controller share it.

Source of the rules: upstream's quota evaluators (`pkg/quota/v1/evaluator/core`).
"""
