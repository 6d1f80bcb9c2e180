"""The paper's training of few neurons and features, in closed form."""
