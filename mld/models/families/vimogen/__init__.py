"""ViMoGen: raw frames at once, by a flow-matching transformer that follows a text or a reference motion."""
