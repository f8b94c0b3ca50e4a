"""Networks that measure how well motion and text fit: Guo et al. matching networks, TMR, and TMR for 272-d motion."""
