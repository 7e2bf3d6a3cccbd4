"""Training what sorts candidates out, from weak labels and inserted lesions."""
