"""Networks: tensors in, tensors out; no files, no geometry, no noise schedule."""
