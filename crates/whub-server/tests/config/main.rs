//! The configuration, as dialogues: what is said to it, and exactly what it makes of it.

mod endpoints;
mod errors;
mod reference;
mod said;
mod services;
mod show;
mod sources;
mod steps;
mod tokens;
