"""The lesion head's training: examples with inserted lesions, the stage, the shell around it."""
