"""What users write and read: the models of our objects, their names and their conditions. No I/O."""
