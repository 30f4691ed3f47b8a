"""The one door to the API server: plain dicts in and out. The only room that imports kubernetes."""
