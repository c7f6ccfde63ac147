//! WebSocket frames and handshakes (RFC 6455, RFC 7692), sans-IO, both roles.
