"""From a raw dataset to its fingerprint, from the fingerprint to plans, from the plans to preprocessed patches."""
