//! `size_limit`: bodies that are too long are refused where their length is known, and ended where it turns out.

use crate::fault::Fault;
use crate::hub::Now;
use crate::middleware::watch::request_too_long;
use crate::middleware::{Asked, Interest, Middleware, PerService};
use crate::placing::WEBSOCKET;

/// Limits of one call's bodies, bytes; `None` = no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sizes {
    /// The request's body.
    pub request: Option<u64>,
    /// The response's.
    pub response: Option<u64>,
}

/// The step. A service's own limit holds instead of the global one.
#[derive(Debug, Default)]
pub struct SizeLimit {
    /// For services that say nothing else.
    pub global: Sizes,
    /// For some services.
    pub services: PerService<Sizes>,
}

impl Middleware for SizeLimit {
    fn name(&self) -> &'static str {
        "size_limit"
    }

    fn interest(&self) -> Interest {
        Interest::CALLS
    }

    fn before(&self, _: Now, call: &mut Asked<'_>) -> Result<(), Fault> {
        // The messages of a WebSocket have no end, and a limit of their own.
        if call.request.method == WEBSOCKET {
            return Ok(());
        }
        let own = call.service.and_then(|service| self.services.find(&service.pattern)).copied();
        let own = own.unwrap_or_default();
        let request = own.request.or(self.global.request).unwrap_or(u64::MAX);
        let response = own.response.or(self.global.response).unwrap_or(u64::MAX);
        let known = call.declared_bytes().unwrap_or(0).max(call.payload.len() as u64);
        if known > request {
            return Err(request_too_long(request));
        }
        call.request_bytes_max = call.request_bytes_max.min(request);
        call.response_bytes_max = call.response_bytes_max.min(response);
        Ok(())
    }
}
