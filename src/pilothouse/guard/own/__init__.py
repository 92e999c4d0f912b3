"""Users' own checks: annotated ValidatingAdmissionPolicy objects, judged by the metered evaluator."""
