"""What is to become of the data that a registry holds. Pure: facts in, decisions out."""
