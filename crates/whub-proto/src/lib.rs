//! The wire: frames, names and codes. Pure: no clock, no socket, no randomness.
