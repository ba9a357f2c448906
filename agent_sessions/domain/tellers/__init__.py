"""How differences of a state are told, by the subjects of its slices; ``domain.differences`` puts them together."""
