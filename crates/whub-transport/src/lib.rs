//! Where bytes come from: listeners, TLS, PROXY protocol, dialling, the in-memory pipe.
