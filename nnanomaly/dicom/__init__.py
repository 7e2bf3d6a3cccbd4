"""DICOM series to NIfTI images without a word on the patient, and predictions back to DICOM."""
