"""At which step known lesions are lost."""
