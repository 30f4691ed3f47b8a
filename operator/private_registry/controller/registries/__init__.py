"""The registry loop: one registry's children, trust entry and status, from what there is to what was asked for."""
