//! Sessions and routing tables: the pure heart of the hub.
