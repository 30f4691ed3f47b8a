"""The operator: registry loop and fleet loop. The only room that imports kopf."""
