"""What each slice of a state holds, by subject; ``agent_sessions.domain.state`` puts them together."""
