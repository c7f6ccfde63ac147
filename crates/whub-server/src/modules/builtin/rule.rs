//! Who may call the hub's own services.

use whub_core::{Fault, Identity};
use whub_proto::Code;

use crate::config::Audience;
use crate::local::LocalCaller;
use crate::node::Node;

/// Who the caller is and what it may do, if it belongs to the audience.
///
/// # Errors
/// `Unauthorized` where a token would help, `Forbidden` where this one does not, `NotFound` for what is switched off.
pub(super) fn admit(node: &Node, audience: Audience, caller: &LocalCaller) -> Result<Identity, Fault> {
    let user = Some(caller.user.as_str()).filter(|user| !user.is_empty());
    let grants = node.grants(user);
    let belongs = match audience {
        Audience::Anyone => true,
        Audience::Token => user.is_some() || grants.admin,
        Audience::Admin => grants.admin,
        Audience::Nobody => {
            let reason = "this service is switched off here (the configuration's `builtin` section)";
            return Err(Fault::fatal(Code::NotFound, "service.not_found", reason));
        }
    };
    if belongs {
        return Ok(Identity { user: user.map(Into::into), grants });
    }
    node.hub.counters.forbidden.one();
    if user.is_none() {
        let reason = "this needs a token; set WHUB_TOKEN, or send `Authorization: Bearer <token>`";
        return Err(Fault::fatal(Code::Unauthorized, "auth.needed", reason));
    }
    let reason = "this needs a token with `admin = true`";
    Err(Fault::fatal(Code::Forbidden, "access.admin", reason))
}
