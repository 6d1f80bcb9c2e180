"""Model, Training and registration: what is allowed, and what is refused in which words."""
