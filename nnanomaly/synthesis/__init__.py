"""Lesions drawn into healthy organs: what a method finds or keeps of them can be measured without any annotation."""
