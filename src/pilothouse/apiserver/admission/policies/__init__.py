"""Policies at admission: ValidatingAdmissionPolicy and MutatingAdmissionPolicy."""
