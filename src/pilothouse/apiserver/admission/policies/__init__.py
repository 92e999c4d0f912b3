"""ValidatingAdmissionPolicy at admission."""
